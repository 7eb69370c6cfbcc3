// The library: one ES module; charts and Supabase's client load later from separate files.
import { defineConfig, type Plugin } from "vite";

/** The package of the marks names its license, but does not carry its text. */
const licenseOfMarks: Plugin = {
  name: "license-of-marks",
  generateBundle: {
    order: "post",
    async handler(_, bundle) {
      const licenses = bundle["LICENSES.md"];
      if (licenses?.type !== "asset") return;
      const mit = await this.fs.readFile("LICENSE", { encoding: "utf8" });
      const text = mit.replace(/Copyright .*/, "Copyright (c) 2023 LobeHub");
      const heading = /(## @lobehub\/icons-static-svg .*\n)/;
      licenses.source = String(licenses.source).replace(heading, `$1\n${text}`);
    },
  },
};

export default defineConfig({
  plugins: [licenseOfMarks],
  build: {
    outDir: "dist",
    sourcemap: true,
    target: "es2022",
    // The licenses of bundled packages.
    license: { fileName: "LICENSES.md" },
    lib: {
      entry: {
        "supa-llm-settings": "src/index.ts",
        "texts-en": "src/texts/en.ts",
        "texts-de": "src/texts/de.ts",
      },
      formats: ["es"],
    },
    rolldownOptions: {
      output: {
        chunkFileNames: "[name]-[hash].js",
        // One file for all that loads with the page, because many small ones compress worse. The texts stay separate:
        // a server can import them without the element.
        codeSplitting: {
          groups: [
            {
              name: "texts",
              test: /\/src\/texts\/(core|en\/(order|providers|shell|tasks))\.ts/,
              priority: 1,
            },
            {
              name: "panel",
              tags: ["$initial"],
              test: (id) => !id.includes("/src/texts/") || id.endsWith("/index.ts"),
            },
          ],
        },
      },
    },
  },
});
