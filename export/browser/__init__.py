"""TFLite files in a real browser: the vendored LiteRT.js, headless Chromium, and a check that uses both."""
