"""The names of the small models, for tests that are collected without PyTorch."""

NAMES = (
    "mlp", "mlp_inplace_relu", "binary", "binary_logits", "conv_batchnorm_training",
    "conv_batchnorm_eval", "conv1d_transposed", "layernorm_residual", "dropout_positional_inplace",
    "embedding_tied", "lstm_cell", "gru", "lstm", "attention_by_hand", "transformer_layer",
    "attention_weights", "scaled_dot_product", "written_slices", "buffer_in_eval",
    "detached_parts", "custom_function", "reductions", "checkpointed", "weight_norm",
    "backward_hooks",
)  # fmt: skip
