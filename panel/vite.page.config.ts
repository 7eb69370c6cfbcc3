// The page of `supa-llm panel`: sign-in around the element. Its CSP forbids inline code, so nothing is inlined.
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
