#!/usr/bin/env python3
"""moejit beside what a PyTorch user has today, in one process, on the same tensors.

    python3 tests/bench/peers.py --lib build --out peers.json          # Mixtral-8x7B TP2 and Qwen3-30B-A3B, bf16
    python3 tests/bench/peers.py --lib build --cases mixtral-8x7b-tp2 --batch 1 64

Needs PyTorch and Triton. This is also the example of calling libmoejit through ctypes: class Moejit.

Protocol, the same for every contestant: one CUDA graph of 10 launches, each with its own routing (uniform, seeded) and its own
activations, random data, median over replays after a warm-up. Sorting and alignment happen before the clock starts.
floor = max(bytes / B, operations / P): B is the best of a read and a copy kernel, P a dense 8192^3 product, both from this run;
bytes = weights of active experts + distinct input rows + output. Every contestant's output is checked against float64.
"""
import argparse
import ctypes
import itertools
import json
import math
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor

import torch
import triton
import triton.language as tl

CASES = {  # experts, top_k, hidden, intermediate per rank
    "mixtral-8x7b-tp2": (8, 2, 4096, 7168),
    "qwen3-30b-a3b-tp1": (128, 8, 2048, 768),
    "deepseek-v3-tp8": (256, 8, 7168, 256),
}
LAUNCHES = 10


# ---- libmoejit through ctypes -------------------------------------------------------------------------------------
class Problem(ctypes.Structure):
    _fields_ = [("expert_count", ctypes.c_uint32), ("expert_total_count", ctypes.c_uint32), ("top_k", ctypes.c_uint32),
                ("hidden", ctypes.c_uint32), ("intermediate", ctypes.c_uint32), ("gated", ctypes.c_bool),
                ("bias", ctypes.c_bool), ("activation", ctypes.c_int), ("scheme", ctypes.c_char * 32),
                ("layout", ctypes.c_char * 32)]


class Error(ctypes.Structure):
    _fields_ = [("status", ctypes.c_int), ("text", ctypes.c_char * 1024)]


class PlanOptions(ctypes.Structure):
    _fields_ = [("max_tokens", ctypes.c_uint32), ("flags", ctypes.c_uint32), ("routing", ctypes.c_char_p)]


class Param(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char * 32), ("value", ctypes.c_int32)]


class Config(ctypes.Structure):
    _fields_ = [("count", ctypes.c_uint32), ("params", Param * 24)]


class PlanRow(ctypes.Structure):
    _fields_ = [("op", ctypes.c_int), ("tokens_from", ctypes.c_uint32), ("tokens_to", ctypes.c_uint32),
                ("origin", ctypes.c_int), ("verified", ctypes.c_bool), ("reason", ctypes.c_char * 160),
                ("family", ctypes.c_char * 32), ("config", Config), ("time_us_median", ctypes.c_double)]


class Layer(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in
                ("x", "weights1", "weights2", "bias1", "bias2", "topk_ids", "topk_weights", "y", "workspace")]
    _fields_ += [("token_count", ctypes.c_uint32)]
    _fields_ += [(name, ctypes.c_void_p) for name in
                 ("weight_scales1", "weight_scales2", "weight_zeros1", "weight_zeros2", "input_scale1", "input_scale2")]


OP_TABLES, OP_GEMM1, OP_ACTIVATION, OP_GEMM2 = 0, 2, 4, 6
ORIGINS = ("store", "store of the arch", "pack", "estimate", "reference")
NO_WORKSPACE = 8


class Moejit:
    """One context and device; plans share them."""

    def __init__(self, folder):
        self.lib = ctypes.CDLL(os.path.join(folder, "libmoejit.so"))
        self.lib.mj_plan_get_row.restype = ctypes.POINTER(PlanRow)
        self.lib.mj_plan_workspace_bytes.restype = ctypes.c_uint64
        self.context, self.device = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("mj_context_create", None, ctypes.byref(self.context))
        self.call("mj_device_open", self.context, b"cuda:0", ctypes.byref(self.device))

    def call(self, name, *args):
        error = Error()
        if getattr(self.lib, name)(*args, ctypes.byref(error)):
            raise RuntimeError(f"{name}: {error.text.decode()}")

    def plan(self, experts, top_k, hidden, intermediate, tokens):
        problem = Problem(experts, experts, top_k, hidden, intermediate, True, False, 0, b"bf16", b"default")
        options, plan = PlanOptions(tokens, NO_WORKSPACE, None), ctypes.c_void_p()
        self.call("mj_plan_create", self.device, ctypes.byref(problem), ctypes.byref(options), ctypes.byref(plan))
        return plan

    def row(self, plan, op, tokens):
        for i in range(self.lib.mj_plan_row_count(plan)):
            row = self.lib.mj_plan_get_row(plan, i).contents
            if row.op == op and row.tokens_from <= tokens <= row.tokens_to:
                config = ",".join(f"{p.name.decode()}={p.value}" for p in row.config.params[:row.config.count])
                return row.family.decode(), config, ORIGINS[row.origin], bool(row.verified)
        raise RuntimeError("no row")

    def run(self, plan, op, layer):
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        self.call("mj_plan_run_op", plan, op, ctypes.byref(layer), stream)

    def prepare(self, plan):
        workspace = torch.empty(self.lib.mj_plan_workspace_bytes(plan), dtype=torch.uint8, device="cuda")
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        self.call("mj_plan_prepare_workspace", plan, ctypes.c_void_p(workspace.data_ptr()), stream)
        return workspace


# ---- the expert-sorted Triton kernel of the shape that vLLM and SGLang serve with -----------------------------------
@triton.jit(do_not_specialize=["top_k", "pair_count", "group"])
def triton_moe(a, w, out, weights, pair_ids, block_experts, n, k, pair_count, top_k, group, blocks,
               TILE_M: tl.constexpr, TILE_N: tl.constexpr, TILE_K: tl.constexpr, SCALE: tl.constexpr):
    columns = tl.cdiv(n, TILE_N)
    pid = tl.program_id(0)
    group_first = pid // (group * columns) * group
    group_rows = min(blocks - group_first, group)
    block = group_first + pid % (group * columns) % group_rows
    column = pid % (group * columns) // group_rows
    pairs = tl.load(pair_ids + block * TILE_M + tl.arange(0, TILE_M))
    real = pairs < pair_count
    expert = tl.load(block_experts + block).to(tl.int64)
    columns_at = (column * TILE_N + tl.arange(0, TILE_N)) % n
    ks = tl.arange(0, TILE_K)
    a_at = a + (pairs[:, None] // top_k).to(tl.int64) * k + ks[None, :]
    w_at = w + expert * n * k + ks[:, None] + columns_at[None, :].to(tl.int64) * k
    total = tl.zeros((TILE_M, TILE_N), dtype=tl.float32)
    for _ in range(0, tl.cdiv(k, TILE_K)):
        total = tl.dot(tl.load(a_at, mask=real[:, None], other=0.0), tl.load(w_at), acc=total)
        a_at += TILE_K
        w_at += TILE_K
    if SCALE:
        total = total * tl.load(weights + pairs, mask=real, other=0.0)[:, None]
    out_columns = column * TILE_N + tl.arange(0, TILE_N)
    tl.store(out + pairs[:, None].to(tl.int64) * n + out_columns[None, :], total.to(tl.bfloat16),
             mask=real[:, None] & (out_columns[None, :] < n))


def triton_space(rows_per_expert):
    for tile_m, tile_n, tile_k, group, warps, stages in itertools.product(
            (16, 32, 64, 128), (64, 128, 256), (64, 128, 256), (1, 16), (4, 8), (2, 3, 4, 5)):
        small = tile_m <= 32
        if (tile_m + tile_n) * tile_k * 2 * stages > 220 * 1024 or tile_k > 128 and not small:
            continue
        if small and (warps == 8 or tile_m == 32 and tile_n == 256) or tile_m == 64 and (warps == 8 or tile_n == 64):
            continue
        if tile_m == 128 and (tile_n == 64 or tile_n == 256 and warps == 4):
            continue
        if stages == 2 and tile_m < 64 or stages == 5 and not small:
            continue
        if rows_per_expert is not None and (tile_m >= 64 and rows_per_expert < 12 or small and rows_per_expert > 100
                                            or tile_m <= 64 and rows_per_expert > 1500
                                            or group == 16 and rows_per_expert < 64):
            continue
        yield tile_m, tile_n, tile_k, group, warps, stages


def triton_compile(job):
    top_k, scale, configs = job
    bf16 = torch.zeros(16, device="cuda", dtype=torch.bfloat16)
    f32, i32 = torch.zeros(16, device="cuda"), torch.zeros(16, device="cuda", dtype=torch.int32)
    for tile_m, tile_n, tile_k, group, warps, stages in configs:
        try:
            triton_moe.warmup(bf16, bf16, bf16, f32, i32, i32, 4096, 4096, 4096, top_k, group, 4096, TILE_M=tile_m,
                              TILE_N=tile_n, TILE_K=tile_k, SCALE=scale, num_warps=warps, num_stages=stages, grid=(1,))
        except Exception:  # does not fit: the timed run meets the same error and skips the config
            pass


def aligned(ids, experts, tile_m):
    flat = ids.flatten()
    order = torch.argsort(flat, stable=True)
    rows = torch.bincount(flat, minlength=experts)
    padded = (rows + tile_m - 1) // tile_m * tile_m
    first, padded_first = torch.cumsum(rows, 0) - rows, torch.cumsum(padded, 0) - padded
    pairs = torch.full((int(padded.sum()),), flat.numel(), dtype=torch.int32, device="cuda")
    pairs[torch.arange(flat.numel(), device="cuda") - first[flat[order]] + padded_first[flat[order]]] = order.int()
    owners = torch.repeat_interleave(torch.arange(experts, dtype=torch.int32, device="cuda"), padded // tile_m)
    return pairs, owners


# ---- timing -----------------------------------------------------------------------------------------------------------
def graph_us(launch, replays=30):
    """Median us per launch over replays of a graph of LAUNCHES; launch(i) issues the i-th."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        launch(0)
        launch(1)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for i in range(LAUNCHES):
            launch(i)
    for _ in range(3):
        graph.replay()
    torch.cuda.synchronize()
    times = []
    for _ in range(replays):
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        graph.replay()
        stop.record()
        stop.synchronize()
        times.append(start.elapsed_time(stop) * 1000 / LAUNCHES)
    return sorted(times)[len(times) // 2]


def glance_us(launch):
    for i in range(2):
        launch(i)
    start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda._sleep(300000)  # the launches queue up behind it, so the host's cost does not show
    start.record()
    for i in range(2, 8):
        launch(i)
    stop.record()
    stop.synchronize()
    return start.elapsed_time(stop) * 1000 / 6


@triton.jit
def read_all(source, out, count, BLOCK: tl.constexpr):
    total = tl.zeros((BLOCK,), dtype=tl.int32)
    for i in range(tl.program_id(0) * BLOCK, count, tl.num_programs(0) * BLOCK):
        total ^= tl.load(source + i + tl.arange(0, BLOCK))
    tl.store(out + tl.program_id(0), tl.sum(total, 0))


def ceilings():
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    tflops = 2 * 8192**3 / graph_us(lambda i: a @ b.t()) / 1e6
    source = torch.randint(0, 1 << 30, (1 << 29,), device="cuda", dtype=torch.int32)
    target, sums = torch.empty_like(source), torch.empty(4096, device="cuda", dtype=torch.int32)
    copy = 2 * 4 * source.numel() / graph_us(lambda i: torch.add(source, 1, out=target), 10) / 1e3
    read = max(4 * source.numel() / graph_us(
        lambda i: read_all[(g,)](source, sums, source.numel(), BLOCK=4096, num_warps=8), 10) / 1e3 for g in (528, 1056, 2112))
    return tflops, max(copy, read)


# ---- one cell: a layer's gemm at M tokens -------------------------------------------------------------------------------
class Cell:
    def __init__(self, case, gemm, tokens, weights):
        self.experts, self.top_k, self.hidden, self.inter = CASES[case]
        self.case, self.gemm, self.tokens, self.weights = case, gemm, tokens, weights
        self.n, self.k = weights.shape[1], weights.shape[2]
        self.pairs = tokens * self.top_k
        generator = torch.Generator(device="cuda").manual_seed(tokens)
        self.ids = [torch.rand(tokens, self.experts, device="cuda", generator=generator).topk(self.top_k, dim=1).indices
                    for _ in range(LAUNCHES)]
        self.order = [torch.argsort(i.flatten(), stable=True) for i in self.ids]
        counts = [torch.bincount(i.flatten(), minlength=self.experts) for i in self.ids]
        self.ends = [torch.cumsum(c, 0).int() for c in counts]
        self.active = sum(int((c > 0).sum()) for c in counts) / LAUNCHES
        rows = tokens if gemm == 1 else self.pairs
        self.inputs = [torch.randn(rows, self.k, device="cuda", dtype=torch.bfloat16) for _ in range(LAUNCHES)]
        self.topk_weights = torch.rand(self.pairs, device="cuda")
        self.bytes = self.active * self.n * self.k * 2 + rows * self.k * 2 + self.pairs * self.n * 2
        self.operations = 2.0 * self.pairs * self.n * self.k

    def floor_us(self, tflops, gbps):
        return max(self.bytes / gbps / 1e3, self.operations / tflops / 1e6)

    def truth(self, sample):
        """float64 rows for some sorted positions of routing 0 (unscaled)."""
        flat, inputs = self.ids[0].flatten(), self.inputs[0].double()
        pair = self.order[0][sample]
        source = pair // self.top_k if self.gemm == 1 else pair
        return torch.stack([self.weights[flat[p]].double() @ inputs[s] for p, s in zip(pair.tolist(), source.tolist())])


def error(got, want):
    return ((got.double() - want).norm(dim=1) / want.norm(dim=1)).max().item()


def time_moejit(moejit, cell, plan):
    """gemm2's rows come from this layer's own activation step, as in serving; the whole layer's y is checked."""
    layers, keep = [], []
    for i in range(LAUNCHES):
        workspace = moejit.prepare(plan)
        x = cell.inputs[i] if cell.gemm == 1 else torch.randn(cell.tokens, cell.hidden, device="cuda", dtype=torch.bfloat16)
        ids = cell.ids[i].int().contiguous()
        y = torch.empty(cell.tokens, cell.hidden, device="cuda", dtype=torch.bfloat16)
        keep += [workspace, x, ids, y]
        first = cell.weights if cell.gemm == 1 else cell.other
        second = cell.other if cell.gemm == 1 else cell.weights
        layers.append(Layer(x.data_ptr(), first.data_ptr(), second.data_ptr(), None, None, ids.data_ptr(),
                            cell.topk_weights.data_ptr(), y.data_ptr(), workspace.data_ptr(), cell.tokens))
        for op in (OP_TABLES, OP_GEMM1, OP_ACTIVATION, OP_GEMM2)[:4 if cell.gemm == 2 else 2]:
            moejit.run(plan, op, layers[i])
    op = OP_GEMM1 if cell.gemm == 1 else OP_GEMM2
    moejit.call("mj_plan_run", plan, ctypes.byref(layers[0]), ctypes.c_void_p(torch.cuda.current_stream().cuda_stream))
    got = keep[3].clone()
    worst = layer_error(cell, keep[1], got)
    us = graph_us(lambda i: moejit.run(plan, op, layers[i]))
    return us, worst, moejit.row(plan, op, cell.tokens)


def layer_error(cell, x, y):
    """The whole layer's y against float64 for a few tokens of routing 0."""
    w1, w2 = (cell.weights, cell.other) if cell.gemm == 1 else (cell.other, cell.weights)
    worst = 0.0
    for token in {0, cell.tokens // 2, cell.tokens - 1}:
        want = torch.zeros(cell.hidden, device="cuda", dtype=torch.float64)
        for slot, expert in enumerate(cell.ids[0][token].tolist()):
            h = (w1[expert].double() @ x[token].double()).bfloat16().double()
            act = (torch.nn.functional.silu(h[:cell.inter]) * h[cell.inter:]).bfloat16().double()
            want += cell.topk_weights[token * cell.top_k + slot].double() * (w2[expert].double() @ act)
        worst = max(worst, ((y[token].double() - want).norm() / want.norm()).item())
    return worst


def time_triton(cell, sample, want, seconds):
    out = torch.empty(cell.pairs, cell.n, device="cuda", dtype=torch.bfloat16)
    gather, blocks, found = cell.top_k if cell.gemm == 1 else 1, {}, []
    until = time.time() + seconds
    for config in triton_space(cell.pairs / cell.experts):
        tile_m, tile_n, tile_k, group, warps, stages = config
        if tile_m not in blocks:
            blocks[tile_m] = [aligned(i, cell.experts, tile_m) for i in cell.ids]

        def launch(i, config=config, tables=blocks[tile_m]):
            tile_m, tile_n, tile_k, group, warps, stages = config
            pairs, owners = tables[i]
            triton_moe[(owners.numel() * triton.cdiv(cell.n, tile_n),)](
                cell.inputs[i], cell.weights, out, cell.topk_weights, pairs, owners, cell.n, cell.k, cell.pairs, gather, group,
                owners.numel(), TILE_M=tile_m, TILE_N=tile_n, TILE_K=tile_k, SCALE=cell.gemm == 2, num_warps=warps,
                num_stages=stages)
        try:
            found.append((glance_us(launch), config, launch))
        except Exception:  # does not fit the device
            continue
        if time.time() > until:
            break
    best = min(((graph_us(launch, 20), config, launch) for _, config, launch in sorted(found, key=lambda f: f[0])[:5]),
               key=lambda f: f[0])
    best[2](0)
    pair = cell.order[0][sample]
    scale = cell.topk_weights[pair].double()[:, None] if cell.gemm == 2 else 1.0
    return best[0], error(out[pair], want * scale), best[1]


def time_torch(cell, sample, want):
    gather = cell.top_k if cell.gemm == 1 else 1
    rows = [x[o // gather].contiguous() for x, o in zip(cell.inputs, cell.order)]
    transposed = cell.weights.transpose(1, 2)
    got = torch._grouped_mm(rows[0], transposed, offs=cell.ends[0], out_dtype=torch.bfloat16)
    us = graph_us(lambda i: torch._grouped_mm(rows[i], transposed, offs=cell.ends[i], out_dtype=torch.bfloat16), 20)
    return us, error(got[sample], want)


def measure(moejit, cell, plan, limits, options):
    sample = torch.unique(torch.linspace(0, cell.pairs - 1, min(cell.pairs, 8)).long()).cuda()
    want = cell.truth(sample)
    floor = cell.floor_us(*limits)
    us, worst, (family, config, origin, verified) = time_moejit(moejit, cell, plan)
    row = dict(case=cell.case, gemm=cell.gemm, tokens=cell.tokens, active=cell.active, floor_us=floor, moejit_us=us,
               moejit_error=worst, family=family, config=config, origin=origin, verified=verified)
    row["triton_us"], row["triton_error"], row["triton_config"] = time_triton(cell, sample, want, options.budget)
    try:
        row["torch_us"], row["torch_error"] = time_torch(cell, sample, want)
    except Exception as failure:
        row["torch_failure"] = str(failure)[:200]
    best = min(row["triton_us"], row.get("torch_us", math.inf))
    row.update(peer_us=best, over_peer=us / best, over_floor=us / floor)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lib", default="build", help="folder of libmoejit.so")
    parser.add_argument("--cases", nargs="*", default=["mixtral-8x7b-tp2", "qwen3-30b-a3b-tp1"], choices=list(CASES))
    parser.add_argument("--batch", nargs="*", type=int, default=[1, 16, 64, 256])
    parser.add_argument("--budget", type=float, default=8, help="seconds of Triton tuning per cell")
    parser.add_argument("--out", default="peers.json")
    options = parser.parse_args()
    jobs = [(top_k, scale, chunk) for top_k, scale in ((8, False), (1, True))
            for configs in [list(triton_space(None))] for chunk in (configs[i:i + 4] for i in range(0, len(configs), 4))]
    with ProcessPoolExecutor(min(14, os.cpu_count()), mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(triton_compile, jobs))
    torch.manual_seed(0)
    moejit, limits, rows = Moejit(options.lib), ceilings(), []
    print(f"ceilings: {limits[0]:.0f} TFLOP/s bf16, {limits[1]:.0f} GB/s")
    for case in options.cases:
        experts, top_k, hidden, inter = CASES[case]
        shapes = {1: (2 * inter, hidden), 2: (hidden, inter)}
        w = {g: torch.randn(experts, n, k, device="cuda", dtype=torch.bfloat16) / math.sqrt(k) for g, (n, k) in shapes.items()}
        for gemm, tokens in itertools.product((1, 2), options.batch):
            cell = Cell(case, gemm, tokens, w[gemm])
            cell.other = w[3 - gemm]
            plan = moejit.plan(experts, top_k, hidden, inter, tokens)
            row = measure(moejit, cell, plan, limits, options)
            moejit.lib.mj_plan_destroy(plan)
            rows.append(row)
            print(f"{case:18s} gemm{gemm} M={tokens:<5d} floor {row['floor_us']:7.1f}  moejit {row['moejit_us']:7.1f} "
                  f"({row['family']} {row['config']}, {row['origin']}, {'verified' if row['verified'] else 'unverified'})  "
                  f"triton {row['triton_us']:7.1f}  torch {row.get('torch_us', math.nan):7.1f}  "
                  f"x peer {row['over_peer']:.3f}  x floor {row['over_floor']:.2f}  "
                  f"error {row['moejit_error']:.4f} / {row['triton_error']:.4f}", flush=True)
            with open(options.out, "w") as out:
                json.dump(dict(device=torch.cuda.get_device_name(), torch=torch.__version__, triton=triton.__version__,
                               matrix_tflops=limits[0], memory_gbps=limits[1], rows=rows), out, indent=1)
    means = math.exp(sum(math.log(r["over_peer"]) for r in rows) / len(rows))
    print(f"geometric mean {means:.3f} x the best peer, worst {max(r['over_peer'] for r in rows):.3f}")


if __name__ == "__main__":
    main()
