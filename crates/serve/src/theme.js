// Light, dark, or as the system is: set before anything is painted, and changed by the button. Both pages share it.
'use strict';
(() => {
  const KEY = 'tallgrass-theme';
  const NAMES = { '': 'Auto', light: 'Light', dark: 'Dark' };
  const root = document.documentElement;
  const show = (theme) => {
    if (theme) root.dataset.theme = theme; else delete root.dataset.theme;
    const button = document.getElementById('theme');
    if (button) button.textContent = NAMES[theme];
  };
  let theme = '';
  try { theme = localStorage.getItem(KEY) || ''; } catch { /* a browser that keeps nothing */ }
  if (!(theme in NAMES)) theme = '';
  show(theme);
  addEventListener('DOMContentLoaded', () => {
    const button = document.getElementById('theme');
    if (!button) return;
    button.hidden = false;
    button.addEventListener('click', () => {
      const all = Object.keys(NAMES);
      theme = all[(all.indexOf(theme) + 1) % all.length];
      show(theme);
      try { localStorage.setItem(KEY, theme); } catch { /* then for this page only */ }
    });
    show(theme);
  });
})();
