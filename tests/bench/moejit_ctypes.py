"""libmoejit from Python: the structs of moejit.h as ctypes sees them, class Moejit, and layer_call, one layer from end to end.

Needs the standard library only: a tensor is anything with data_ptr(), such as PyTorch's. tests/bench/ctypes_test.py compares every
struct and constant here with the C headers, and runs layer_call on the CPU.
"""
import ctypes
import os

NAME_MAX = 32


# ---- The structs of moejit_types.h and moejit.h, names and order as there ----------------------------------------------
class Error(ctypes.Structure):  # mj_error
    _fields_ = [("status", ctypes.c_int), ("text", ctypes.c_char * 1024)]


class Problem(ctypes.Structure):  # mj_problem
    _fields_ = [("expert_count", ctypes.c_uint32), ("expert_total_count", ctypes.c_uint32), ("top_k", ctypes.c_uint32),
                ("hidden", ctypes.c_uint32), ("intermediate", ctypes.c_uint32), ("gated", ctypes.c_bool),
                ("bias", ctypes.c_bool), ("activation", ctypes.c_int), ("scheme", ctypes.c_char * NAME_MAX),
                ("layout", ctypes.c_char * NAME_MAX)]


class ContextOptions(ctypes.Structure):  # mj_context_options
    _fields_ = [("allocate", ctypes.c_void_p), ("log", ctypes.c_void_p), ("user", ctypes.c_void_p),
                ("log_level", ctypes.c_int), ("data_dir", ctypes.c_char_p), ("cache_dir", ctypes.c_char_p),
                ("store_dir", ctypes.c_char_p), ("nvrtc_path", ctypes.c_char_p), ("hiprtc_path", ctypes.c_char_p),
                ("cc_path", ctypes.c_char_p), ("cache_bytes_max", ctypes.c_uint64), ("no_compile", ctypes.c_bool)]


class PlanOptions(ctypes.Structure):  # mj_plan_options
    _fields_ = [("max_tokens", ctypes.c_uint32), ("flags", ctypes.c_uint32), ("routing", ctypes.c_char_p)]


class Param(ctypes.Structure):  # mj_param
    _fields_ = [("name", ctypes.c_char * NAME_MAX), ("value", ctypes.c_int32)]


class Config(ctypes.Structure):  # mj_config
    _fields_ = [("count", ctypes.c_uint32), ("params", Param * 24)]


class PlanRow(ctypes.Structure):  # mj_plan_row
    _fields_ = [("op", ctypes.c_int), ("tokens_from", ctypes.c_uint32), ("tokens_to", ctypes.c_uint32),
                ("origin", ctypes.c_int), ("verified", ctypes.c_bool), ("reason", ctypes.c_char * 160),
                ("family", ctypes.c_char * NAME_MAX), ("config", Config), ("time_us_median", ctypes.c_double)]


class Layer(ctypes.Structure):  # mj_layer
    _fields_ = [("x", ctypes.c_void_p), ("weights1", ctypes.c_void_p), ("weights2", ctypes.c_void_p),
                ("bias1", ctypes.c_void_p), ("bias2", ctypes.c_void_p), ("topk_ids", ctypes.c_void_p),
                ("topk_weights", ctypes.c_void_p), ("y", ctypes.c_void_p), ("workspace", ctypes.c_void_p),
                ("token_count", ctypes.c_uint32), ("weight_scales1", ctypes.c_void_p), ("weight_scales2", ctypes.c_void_p),
                ("weight_zeros1", ctypes.c_void_p), ("weight_zeros2", ctypes.c_void_p), ("input_scale1", ctypes.c_void_p),
                ("input_scale2", ctypes.c_void_p), ("layout", ctypes.c_char_p)]


STRUCTS = {"mj_error": Error, "mj_problem": Problem, "mj_context_options": ContextOptions, "mj_plan_options": PlanOptions,
           "mj_param": Param, "mj_config": Config, "mj_plan_row": PlanRow, "mj_layer": Layer}
PLAN_NO_WORKSPACE = 8
ORIGINS = ("store", "store of the arch", "pack", "estimate", "reference")
CONSTANTS = {"MJ_PLAN_NO_WORKSPACE": PLAN_NO_WORKSPACE, "MJ_ORIGIN_COUNT": len(ORIGINS), "MJ_NAME_MAX": NAME_MAX}


class Moejit:
    """One context and device; plans share them. A failed call raises RuntimeError with the library's one line."""

    def __init__(self, folder="build", device="best", **context_options):
        self.lib = ctypes.CDLL(os.path.join(os.path.abspath(folder), "libmoejit.so"))
        for name, result in (("mj_plan_get_row", ctypes.POINTER(PlanRow)), ("mj_plan_workspace_bytes", ctypes.c_uint64),
                             ("mj_plan_row_count", ctypes.c_uint32), ("mj_version", ctypes.c_char_p),
                             ("mj_plan_destroy", None), ("mj_device_close", None), ("mj_context_destroy", None)):
            getattr(self.lib, name).restype = result
        options = ContextOptions(**{name: value.encode() if isinstance(value, str) else value
                                    for name, value in context_options.items()})
        self.context, self.device = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("mj_context_create", ctypes.byref(options), ctypes.byref(self.context))
        self.call("mj_device_open", self.context, device.encode(), ctypes.byref(self.device))

    def close(self):
        self.lib.mj_device_close(self.device)
        self.lib.mj_context_destroy(self.context)

    def call(self, name, *arguments):
        error = Error()
        if getattr(self.lib, name)(*arguments, ctypes.byref(error)):
            raise RuntimeError(f"{name}: {error.text.decode()}")

    def problem(self, experts, top_k, hidden, intermediate, scheme="bf16", layout="default"):
        """A gated SiLU layer."""
        problem = Problem(expert_count=experts, expert_total_count=experts, top_k=top_k, hidden=hidden,
                          intermediate=intermediate, gated=True, scheme=scheme.encode(), layout=layout.encode())
        self.call("mj_activation_parse", b"silu", ctypes.byref(problem, Problem.activation.offset))
        return problem

    def pack_weights(self, problem, w1, packed, size, from_layout="default"):
        """w1 [E, 2N, H] -> packed, as the problem's layout has it; both of `size` bytes, in host memory."""
        self.call("mj_weights_pack", ctypes.byref(problem), from_layout.encode(), ctypes.c_void_p(w1.data_ptr()),
                  ctypes.c_void_p(packed.data_ptr()), ctypes.c_uint64(size))

    def plan(self, experts, top_k, hidden, intermediate, max_tokens, scheme="bf16", routing=None, flags=0, layout="default"):
        """A plan of such a layer, from the store, else from the estimate: it never tunes."""
        problem = self.problem(experts, top_k, hidden, intermediate, scheme, layout)
        options = PlanOptions(max_tokens, flags, routing.encode() if routing else None)
        plan = ctypes.c_void_p()
        self.call("mj_plan_create", self.device, ctypes.byref(problem), ctypes.byref(options), ctypes.byref(plan))
        return plan

    def destroy(self, plan):
        self.lib.mj_plan_destroy(plan)

    def op(self, name):
        """An op's number by its name; None: this version has no such op."""
        value = ctypes.c_int()
        missing = self.lib.mj_op_parse(name.encode(), ctypes.byref(value), None)
        return None if missing else value.value

    def row(self, plan, name, tokens):
        """What the plan uses for an op at so many tokens: a dict; None: it does without that op."""
        op = self.op(name)
        for i in range(self.lib.mj_plan_row_count(plan)):
            row = self.lib.mj_plan_get_row(plan, i).contents
            if row.op == op and row.tokens_from <= tokens <= row.tokens_to:
                config = ",".join(f"{p.name.decode()}={p.value}" for p in row.config.params[:row.config.count])
                return dict(family=row.family.decode(), config=config, origin=ORIGINS[row.origin],
                            verified=bool(row.verified), reason=row.reason.decode())
        return None

    def workspace_bytes(self, plan):
        return self.lib.mj_plan_workspace_bytes(plan)

    def prepare(self, plan, workspace, stream=None):
        self.call("mj_plan_prepare_workspace", plan, ctypes.c_void_p(workspace.data_ptr()), ctypes.c_void_p(stream))

    def run(self, plan, layer, stream=None):
        self.call("mj_plan_run", plan, ctypes.byref(layer), ctypes.c_void_p(stream))

    def run_op(self, plan, name, layer, stream=None):
        self.call("mj_plan_run_op", plan, self.op(name), ctypes.byref(layer), ctypes.c_void_p(stream))

    def output(self, plan, name, layer):
        """Addresses (output, scales or None) of what an op leaves behind."""
        output, scales = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("mj_plan_find_output", plan, self.op(name), ctypes.byref(layer), ctypes.byref(output), ctypes.byref(scales))
        return output.value, scales.value


def make_layer(tokens, **tensors):
    """An mj_layer from tensors by field name; those left out are NULL. Keep the tensors alive while launches use them."""
    return Layer(token_count=tokens, **{name: tensor.data_ptr() for name, tensor in tensors.items() if tensor is not None})


# README.md shows this function.
def layer_call(moejit, plan, x, w1, w2, topk_ids, topk_weights, y, stream=None):
    """y[M, H] = the MoE layer of x[M, H]; w1 [E, 2N, H] (gate rows, then up rows), w2 [E, H, N], topk_ids int32 [M, top_k],
    topk_weights float32 [M, top_k]. Asynchronous on `stream`, and may be captured in a CUDA graph."""
    layer = make_layer(x.shape[0], x=x, weights1=w1, weights2=w2, topk_ids=topk_ids, topk_weights=topk_weights, y=y)
    moejit.run(plan, layer, stream)
    return y
