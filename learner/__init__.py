"""The light root of Redraft: records, store, contracts. Nothing here imports torch."""
