const COMMIT_LETTERS = 12;

/** What a figure was measured on, in one sentence. */
export function provenance({ device, commit, dirty, date, node, build }) {
  const tree = `commit ${commit.slice(0, COMMIT_LETTERS)}${dirty ? " with changes beside it" : ""}`;
  // What needs no addon names none.
  const addon = build === undefined ? "" : `addon: ${build.split(";")[0]}; `;
  return (
    `${device.cpu}, ${device.cores} cores, ${device.memoryGiB} GiB; Node ${node}; ${addon}` +
    `${tree}; ${date.slice(0, 10)}.`
  );
}
