"""The language server: what the editor talks to. Never imports torch."""
