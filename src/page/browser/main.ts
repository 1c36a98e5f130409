/** The script of a report: draws its charts, and answers to its few controls. The rest of the page needs none. */
import type { Picture } from "../data.js";
import { Board } from "./board.js";
import { themeNow } from "./look.js";
import { colourOf, dashOf, type Theme } from "./palette.js";

const picture = JSON.parse(document.getElementById("picture")?.textContent ?? "") as Picture;
const board = new Board(picture);

/** Swatches are drawn as the lines are. */
function paintSwatches(theme: Theme): void {
  for (const swatch of document.querySelectorAll<HTMLElement>("[data-run]")) {
    const run = Number(swatch.dataset["run"]);
    swatch.style.setProperty("--run", colourOf(run, theme));
    const line = swatch.querySelector("line");
    line?.setAttribute("stroke-dasharray", dashOf(run).join(" "));
  }
}

function paint(): void {
  paintSwatches(themeNow());
  board.drawAll();
}

for (const button of document.querySelectorAll<HTMLButtonElement>("button[data-run]")) {
  button.addEventListener("click", () => {
    const shown = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(shown));
    board.show(Number(button.dataset["run"]), shown);
  });
}

const toggle = document.getElementById("theme");
toggle?.addEventListener("click", () => {
  document.documentElement.dataset["theme"] = themeNow() === "dark" ? "light" : "dark";
  paint();
});

const differing = document.getElementById("differing");
differing?.addEventListener("change", () => {
  document.body.classList.toggle("only-differing", differing instanceof HTMLInputElement && differing.checked);
});

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
board.followSize();
addEventListener("beforeprint", () => {
  document.documentElement.dataset["printing"] = "";
  paintSwatches("light");
  board.drawAll(true);
});
addEventListener("afterprint", () => {
  delete document.documentElement.dataset["printing"];
  paint();
});

paint();
document.documentElement.dataset["drawn"] = "";
