// The page that `supa-llm panel` serves: sign-in around the element. Nothing is inline, for its CSP allows nothing inline.
import { defineConfig } from "vite";

export default defineConfig({
  root: "page",
  build: {
    outDir: "../dist-page",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
});
