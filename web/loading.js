// @ts-check
// Shown when the site itself fails to load: a module was lost, or a deployment replaced it meanwhile.
// This is a classic script, so it doesn't depend on any module.

addEventListener(
  "error",
  ({ target }) => {
    // Replaced by the first page that is drawn.
    const loading = document.getElementById("loading");
    if (!loading || !(target === window || target instanceof HTMLScriptElement)) return;
    const heading = document.createElement("h1");
    heading.append("The page didn’t load completely.");
    const text = document.createElement("p");
    text.className = "summary";
    text.setAttribute("role", "alert");
    text.append("Reload it to try again. Everything you’ve bought is safe.");
    const again = document.createElement("button");
    again.className = "button";
    again.type = "button";
    again.append("Reload");
    again.addEventListener("click", () => location.reload());
    loading.className = "narrow";
    loading.replaceChildren(heading, text, again);
  },
  true,
);
