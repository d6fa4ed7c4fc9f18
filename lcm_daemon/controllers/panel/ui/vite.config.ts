import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import tailwindcss from "@tailwindcss/vite";
import { defineConfig, type Plugin } from "vite";
import { sourcesHash } from "./sources.ts";

const PAGE = resolve(import.meta.dirname, "../page");
const PAGES = ["index", "output", "view", "join"].map((name) => resolve(import.meta.dirname, `${name}.html`));
const DAEMON = "http://127.0.0.1:8000";

const writeSourcesHash: Plugin = {
  name: "write-sources-hash",
  apply: "build",
  closeBundle: () => writeFileSync(resolve(PAGE, "sources.sha256"), `${sourcesHash(import.meta.dirname)}\n`),
};

export default defineConfig({
  plugins: [tailwindcss(), svelte(), writeSourcesHash],
  build: { outDir: PAGE, emptyOutDir: true, target: "es2022", modulePreload: { polyfill: false },
    rollupOptions: { input: PAGES } },
  server: { proxy: { "/ws": { target: DAEMON, ws: true, changeOrigin: true, rewriteWsOrigin: true } } },
});
