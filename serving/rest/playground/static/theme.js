// The switch between the system's colours, light ones and dark ones.

const KEY = "jaxchat-theme";
const NAMES = ["system", "light", "dark"];

export function startTheme(button) {
  let theme = NAMES.includes(localStorage.getItem(KEY)) ? localStorage.getItem(KEY) : "system";
  const show = () => {
    document.documentElement.dataset.theme = theme;
    button.textContent = { system: "Auto", light: "Light", dark: "Dark" }[theme];
    button.setAttribute("aria-label", `Colours: ${theme}`);
  };
  button.addEventListener("click", () => {
    theme = NAMES[(NAMES.indexOf(theme) + 1) % NAMES.length];
    localStorage.setItem(KEY, theme);
    show();
  });
  show();
}
