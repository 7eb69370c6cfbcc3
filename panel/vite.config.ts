// The library: one ES module; charts and Supabase's client load later from separate files.
import { defineConfig } from "vite";

export default defineConfig({
  build: {
    outDir: "dist",
    sourcemap: true,
    target: "es2022",
    // The licenses of bundled packages.
    license: { fileName: "LICENSES.md" },
    lib: {
      entry: { "supa-llm-settings": "src/index.ts", "texts-de": "src/texts/de.ts" },
      formats: ["es"],
    },
    rollupOptions: { output: { chunkFileNames: "[name]-[hash].js" } },
  },
});
