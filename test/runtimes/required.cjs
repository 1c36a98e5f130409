/** The CommonJS half of the package. */
const path = require("node:path");
const { loadModel } = require("zo2");

loadModel(path.join(process.argv[2], "tiny-opt")).then(async (model) => {
  const logits = await model.logits([2, 5, 9]);
  await model.dispose();
  console.log(JSON.stringify([...logits.slice(0, 4)]));
});
