// The library: one ES module, with what is needed later (charts, Supabase's client) in files of their own.
import { defineConfig } from "vite";

export default defineConfig({
  build: {
    outDir: "dist",
    sourcemap: true,
    target: "es2022",
    // Of what is bundled, the licences come along.
    license: { fileName: "LICENSES.md" },
    lib: {
      entry: { "supa-llm-settings": "src/index.ts", "texts-de": "src/texts/de.ts" },
      formats: ["es"],
    },
    rollupOptions: { output: { chunkFileNames: "[name]-[hash].js" } },
  },
});
