"""How the freedoom world was trained: pictures, walks, export."""
