"""Architectures of transformers, built small from their configuration; no weights are loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

NAMES = ("gpt2", "llama", "t5", "bert", "vit", "resnet", "swin", "convnext", "mamba")
_TEXT = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
_IMAGE = {"image_size": 16, "patch_size": 8, "num_labels": 3}


def build(name: str) -> tuple[Any, dict[str, Any]]:
    """Return a model in float64 with named inputs, labels among them."""
    import torch
    import transformers as tf

    torch.manual_seed(0)
    ids = torch.randint(1, 50, (2, 8))
    text = {"input_ids": ids, "labels": ids}
    labels = torch.tensor([0, 2])

    def image(size: int) -> dict[str, Any]:
        return {"pixel_values": torch.randn(2, 3, size, size).double(), "labels": labels}

    made: dict[str, Callable[[], tuple[Any, dict[str, Any]]]] = {
        "gpt2": lambda: (tf.GPT2LMHeadModel(tf.GPT2Config(
            vocab_size=50, n_positions=16, n_embd=16, n_layer=2, n_head=2, bos_token_id=0,
            eos_token_id=0)), text),
        "llama": lambda: (tf.LlamaForCausalLM(tf.LlamaConfig(
            **_TEXT, intermediate_size=32, num_key_value_heads=1)), text),
        "t5": lambda: (tf.T5ForConditionalGeneration(tf.T5Config(
            vocab_size=50, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2,
            decoder_start_token_id=0)), text),
        "bert": lambda: (tf.BertForSequenceClassification(tf.BertConfig(
            **_TEXT, intermediate_size=32, num_labels=3)), {"input_ids": ids, "labels": labels}),
        "vit": lambda: (tf.ViTForImageClassification(tf.ViTConfig(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
            **_IMAGE)), image(16)),
        "resnet": lambda: (tf.ResNetForImageClassification(tf.ResNetConfig(
            embedding_size=8, hidden_sizes=[16, 16, 32, 32], num_labels=3)), image(32)),
        "swin": lambda: (tf.SwinForImageClassification(tf.SwinConfig(
            image_size=32, patch_size=4, embed_dim=8, depths=[2, 2], num_heads=[2, 2],
            window_size=4, num_labels=3)), image(32)),
        "convnext": lambda: (tf.ConvNextForImageClassification(tf.ConvNextConfig(
            hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], num_labels=3)), image(64)),
        "mamba": lambda: (tf.MambaForCausalLM(tf.MambaConfig(
            vocab_size=50, hidden_size=16, state_size=4, num_hidden_layers=2)), text),
        "regnet": lambda: (tf.RegNetForImageClassification(tf.RegNetConfig(
            embedding_size=8, hidden_sizes=[8, 16, 16, 32], depths=[1, 1, 1, 1], groups_width=8,
            num_labels=3)), image(32)),
        "mobilenet": lambda: (tf.MobileNetV2ForImageClassification(tf.MobileNetV2Config(
            image_size=32, depth_multiplier=0.25, num_labels=3)), image(32)),
        "distilbert": lambda: (tf.DistilBertForSequenceClassification(tf.DistilBertConfig(
            vocab_size=50, dim=16, hidden_dim=32, n_layers=2, n_heads=2, num_labels=3)),
            {"input_ids": ids, "labels": labels}),
    }  # fmt: skip
    model, x = made[name]()
    return model.double().train(), x
