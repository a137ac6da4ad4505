import { defineConfig } from 'vite';
import { svelte } from '@sveltejs/vite-plugin-svelte';

// Plain names: the built files are committed, and a report has them inside.
export default defineConfig({
  plugins: [svelte()],
  base: './',
  build: {
    outDir: '../../report/dist',
    emptyOutDir: true,
    modulePreload: false,
    rollupOptions: { output: { entryFileNames: 'kelvin.js', assetFileNames: 'kelvin[extname]', codeSplitting: false } },
  },
  server: { proxy: { '/api': 'http://127.0.0.1:7373' }, fs: { allow: ['.'] } },
});
