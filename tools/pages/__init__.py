"""SVG and HTML shared by all pages."""
