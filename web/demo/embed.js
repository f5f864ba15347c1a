// @ts-check
// Logs the elements' events.

const log = document.getElementById("log");
for (const name of ["open", "locked", "checkout", "error"]) {
  document.addEventListener(`coursegate-${name}`, (event) => {
    const { detail } = /** @type {CustomEvent} */ (event);
    if (log) log.textContent = `coursegate-${name}: ${JSON.stringify(detail)}`;
  });
}
