"""By hand, where the `transformers` package is: its GPT-2, LLaMA and T5 with random weights against
families_reference.py, which the tests hold pgmpi to; and files of pgmpi --export-weights, which must
have the names of a model of two layers, none missing or left over.

hugging_face_check.py [EXPORTED.safetensors …]   each named after its family: gpt*, llama*, t5*
"""

import pathlib
import sys

import torch
import transformers

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import families_reference as reference

V, T = 61, 19
VANILLA = {"unit": "vanilla", "form": "self_gate"}
# Of tensors that other names have already.
SECOND_NAMES = {"lm_head.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}


def models():
    gpt = transformers.GPT2Config(vocab_size=V, bos_token_id=0, eos_token_id=0, n_positions=T, n_embd=24, n_layer=2, n_head=3, n_inner=40,
                                  activation_function="gelu_new")
    yield "gpt", transformers.GPT2LMHeadModel(gpt), {
        "arch": "gpt", "n_layers": 2, "n_heads": 3, "activation": "gelu_tanh", "gated_mlp": False,
        "norm_eps": 1e-5, "d_model": 24, "tied_embeddings": True}
    llama = transformers.LlamaConfig(vocab_size=V, hidden_size=24, intermediate_size=40, num_hidden_layers=2,
                                     num_attention_heads=6, num_key_value_heads=2, rms_norm_eps=1e-5,
                                     max_position_embeddings=T, tie_word_embeddings=False)
    yield "llama", transformers.LlamaForCausalLM(llama), {
        "arch": "llama", "n_layers": 2, "n_heads": 6, "activation": "silu", "gated_mlp": True,
        "norm_eps": 1e-5, "rope_theta": 10000, "d_model": 24, "tied_embeddings": False}
    for version, activation, tied in (("1.0", "relu", True), ("1.1", "gated-gelu", False)):
        t5 = transformers.T5Config(vocab_size=V, d_model=24, d_kv=5, d_ff=40, num_layers=2, num_heads=3,
                                   feed_forward_proj=activation, tie_word_embeddings=tied, dropout_rate=0,
                                   layer_norm_epsilon=1e-6)
        yield "t5", transformers.T5ForConditionalGeneration(t5), {
            "arch": "t5", "n_layers": 2, "n_heads": 3, "norm_eps": 1e-6, "d_model": 24,
            "activation": "relu" if tied else "gelu_tanh", "gated_mlp": not tied, "tied_embeddings": tied}


def main():
    torch.manual_seed(1)
    failed = False
    for name, model, settings in models():
        model = model.double().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        weights = {k: v for k, v in model.state_dict().items()}
        tokens = torch.randint(0, V, (3, T))
        case = {"model": settings, "gate": VANILLA, "inputs": tokens}
        with torch.no_grad():
            if name == "t5":
                case["encoder"] = torch.randint(0, V, (3, 150))  # beyond the last bucket
                truth = model(input_ids=case["encoder"], decoder_input_ids=tokens).logits
            else:
                truth = model(tokens).logits
            if name != "t5" and settings["tied_embeddings"]:
                weights.pop("lm_head.weight", None)
            found = reference.FAMILIES[name](weights, case)
        error = ((found - truth).norm() / truth.norm()).item()
        good = error < 1e-5  # LLaMA and T5 take norms, softmax and rotations in single precision
        failed |= not good
        print(f"{name} {settings['activation']}: relative difference of the logits {error:.2e}", "" if good else "FAILED")
    for path in sys.argv[1:]:
        kind, tensors = pathlib.Path(path).stem, reference.read(path)
        model = next(model for name, model, settings in models() if kind.startswith(name) and
                     ("lm_head.weight" in tensors) != settings["tied_embeddings"])
        expected = set(model.state_dict())
        missing = expected - set(tensors) - SECOND_NAMES
        surplus = set(tensors) - expected
        failed |= bool(missing or surplus)
        print(f"{kind}: {len(tensors)} tensors, missing {sorted(missing)}, left over {sorted(surplus)}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
