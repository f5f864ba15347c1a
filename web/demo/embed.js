// @ts-check
// What the elements tell the page around them.

const log = document.getElementById("log");
for (const name of ["open", "locked", "checkout", "error"]) {
  document.addEventListener(`coursegate-${name}`, (event) => {
    const { detail } = /** @type {CustomEvent} */ (event);
    if (log) log.textContent = `coursegate-${name}: ${JSON.stringify(detail)}`;
  });
}
