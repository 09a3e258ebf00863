"""A hand-written pass through the Llama family for training: no padding, shared prompts, LoRA folded in.

It computes the same numbers as peft and transformers (tests/training/test_llama_pass.py) in less time; what each part
of it gives stands in docs/performance.md. Every other model takes the path through peft.
"""
