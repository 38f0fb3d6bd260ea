#!/usr/bin/env python3
"""moejit beside what a PyTorch user has today, in one process, on the same tensors.

    python3 tests/bench/peers.py --lib build --out peers.jsonl                      # everything; see --budget and --resume
    python3 tests/bench/peers.py --lib build --cases mixtral-8x7b-tp2 --modes bf16 --batch 64 --routing uniform
    python3 tests/bench/peers.py --lib build --resume --budget 400 --baseline baseline.json --json peers-h200.json
    python3 tests/bench/peers.py --lib build --device cpu                           # tiny layers on the CPU: does it all still work?

Needs PyTorch, and Triton on a GPU. moejit runs what a plan would use now: tune first (`moejit tune --scheme ...`), or it is the
estimate's choice; the row says which. Peers: an expert-sorted Triton kernel tuned per cell (peers_triton.py), torch._grouped_mm,
torch._scaled_grouped_mm. Every row is appended to --out as it comes; --resume skips what is there; a stopped run is a useful one:
all layers and modes have the batch sizes it got to. --peers-from takes Triton's best configs from an earlier --out instead of
searching. With both routings in one run Triton keeps for zipf1 what it found for uniform; --routing zipf1 alone searches for it. moejit
takes what was tuned for the routing, if it was.

Protocol, the same for every contestant: one CUDA graph of 10 launches, each with its own routing (seeded) and its own activations,
its own output, random data, replays after a warm-up, in three rounds of all contestants in turns (a warm chip is slow for all alike), the median of
the rounds' medians; *_spread is their range as a share of it. Sorting, alignment and quantisation happen before the clock starts; what our own
quantise op takes is a column of its own. All read the same tensors: the peers get gemm2's rows, codes and scales from our layer.
floor = max(bytes / B, operations / P): B is the best of a read and a copy kernel, P a dense 8192^3 product of the same format, both
from this run; bytes = weights of active experts + distinct input rows + output. Errors: the worst ||got - want|| / ||want|| of some
output rows, `want` in float64 from the very codes and scales that the contestants read.
"""
import argparse
import json
import math
import os
import statistics
import sys
import time

import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import moejit_ctypes as mj  # noqa: E402
import peers_report  # noqa: E402

CASES = {  # experts, top_k, hidden, intermediate per rank
    "mixtral-8x7b-tp2": (8, 2, 4096, 7168),
    "deepseek-v3-tp8": (256, 8, 7168, 256),
    "qwen3-30b-a3b-tp1": (128, 8, 2048, 768),
}
SMOKE = {"smoke": (4, 2, 256, 128)}
SCHEMES = {"bf16": "bf16", "fp8": "fp8_w8a8", "fp8_channel": "fp8_w8a8_channel", "fp8_block": "fp8_w8a8_block"}
BATCH = (64, 1, 4096, 256, 16, 1024)  # in this order, so that a run that is stopped early has seen small, large and between
LAUNCHES, SAMPLES = 10, 12
ROUNDS, ROUND_REPLAYS = 3, 10
FP8_MAX = 448.0
STATIC_SCALE2 = 16 / FP8_MAX  # of the activated rows, where the scheme wants it from the caller


# ---- Timing -------------------------------------------------------------------------------------------------------------
class Gpu:
    name, torch_device = "cuda:0", "cuda"

    @staticmethod
    def stream():
        return torch.cuda.current_stream().cuda_stream

    @staticmethod
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
        return statistics.median(times)

    @staticmethod
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

    @classmethod
    def ceilings(cls):
        """TFLOP/s of bf16 and of fp8, GB/s."""
        from peers_triton import read_all
        a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
        bf16 = 2 * 8192**3 / cls.graph_us(lambda i: a @ b.t()) / 1e6
        a8, b8, one = a.to(torch.float8_e4m3fn), b.to(torch.float8_e4m3fn), torch.ones((), device="cuda")
        fp8 = 2 * 8192**3 / cls.graph_us(
            lambda i: torch._scaled_mm(a8, b8.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16)) / 1e6
        source = torch.randint(0, 1 << 30, (1 << 29,), device="cuda", dtype=torch.int32)
        target, sums = torch.empty_like(source), torch.empty(4096, device="cuda", dtype=torch.int32)
        copy = 2 * 4 * source.numel() / cls.graph_us(lambda i: torch.add(source, 1, out=target), 10) / 1e3
        read = max(4 * source.numel() / cls.graph_us(
            lambda i: read_all[(g,)](source, sums, source.numel(), BLOCK=4096, num_warps=8), 10) / 1e3
            for g in (528, 1056, 2112))
        return dict(bf16_tflops=bf16, fp8_tflops=fp8, memory_gbps=max(copy, read))

    @staticmethod
    def describe():
        return torch.cuda.get_device_name()


class Cpu:
    name, torch_device = "cpu", "cpu"

    @staticmethod
    def stream():
        return None

    @staticmethod
    def graph_us(launch, replays=3):
        times = []
        for _ in range(min(replays, 3)):
            start = time.perf_counter()
            for i in range(LAUNCHES):
                launch(i)
            times.append((time.perf_counter() - start) * 1e6 / LAUNCHES)
        return statistics.median(times)

    @classmethod
    def ceilings(cls):
        a = torch.randn(512, 512, dtype=torch.bfloat16)
        source = torch.zeros(1 << 22, dtype=torch.int32)
        tflops = 2 * 512**3 / cls.graph_us(lambda i: a @ a) / 1e6
        return dict(bf16_tflops=tflops, fp8_tflops=tflops,
                    memory_gbps=8 * source.numel() / cls.graph_us(lambda i: source + 1) / 1e3)

    @staticmethod
    def describe():
        return "the CPU"


# ---- Weights and routing ------------------------------------------------------------------------------------------------
def quantised(w, mode):
    """(codes, scales as moejit.h has them) of bf16 weights [E, n, k]."""
    if mode == "bf16":
        return w, None
    experts, n, k = w.shape
    codes = torch.empty_like(w, dtype=torch.float8_e4m3fn)
    shape = {"fp8": (experts,), "fp8_channel": (experts, n), "fp8_block": (experts, n // 128, k // 128)}[mode]
    scales = torch.empty(shape, device=w.device, dtype=torch.float32)
    for e in range(experts):
        parts = w[e].float().view({"fp8": (1, -1, 1, 1), "fp8_channel": (n, 1, 1, k),
                                   "fp8_block": (n // 128, 128, k // 128, 128)}[mode])
        scale = parts.abs().amax(dim=(1, 3), keepdim=True) / FP8_MAX
        codes[e] = (parts / scale).view(n, k).to(torch.float8_e4m3fn)
        scales[e] = scale.view(scales[e].shape)
    return codes, scales


class Weights:
    def __init__(self, case, mode, device):
        experts, _, hidden, inter = case
        self.codes, self.scales = [], []
        for n, k in ((2 * inter, hidden), (hidden, inter)):
            w = torch.randn(experts, n, k, device=device, dtype=torch.bfloat16) / math.sqrt(k)
            codes, scales = quantised(w, mode)
            self.codes.append(codes)
            self.scales.append(scales)


def routed(routing, tokens, experts, top_k, seed, device):
    """LAUNCHES x top-k ids [tokens, top_k]; zipf1: experts of probability 1 / rank, without repetition."""
    generator = torch.Generator(device=device).manual_seed(seed)
    noise = [torch.rand(tokens, experts, device=device, generator=generator) for _ in range(LAUNCHES)]
    if routing == "zipf1":
        bias = -torch.log(torch.arange(1, experts + 1, device=device, dtype=torch.float32))
        noise = [bias - torch.log(-torch.log(u.clamp(1e-20, 1 - 1e-7))) for u in noise]
    return [u.topk(top_k, dim=1).indices for u in noise]


# ---- One unit: a layer, a mode, a routing and a batch size; both its GEMMs ------------------------------------------------
class Unit:
    def __init__(self, moejit, device, case, mode, routing, tokens, weights):
        self.moejit, self.device, self.mode, self.tokens, self.weights = moejit, device, mode, tokens, weights
        self.experts, self.top_k, self.hidden, self.inter = case
        self.pairs, where = tokens * self.top_k, device.torch_device
        self.ids = routed(routing, tokens, self.experts, self.top_k, tokens, where)
        self.order = [torch.argsort(i.flatten(), stable=True) for i in self.ids]
        counts = [torch.bincount(i.flatten(), minlength=self.experts) for i in self.ids]
        self.ends = [torch.cumsum(c, 0).int() for c in counts]
        self.active = sum(int((c > 0).sum()) for c in counts) / LAUNCHES
        self.x = [torch.randn(tokens, self.hidden, device=where, dtype=torch.bfloat16) for _ in range(LAUNCHES)]
        self.topk_weights = torch.rand(tokens, self.top_k, device=where)
        self.scale2 = torch.full((1,), STATIC_SCALE2, device=where)
        self.plan = moejit.plan(self.experts, self.top_k, self.hidden, self.inter, tokens, SCHEMES[mode], routing,
                                mj.PLAN_NO_WORKSPACE)
        self.run_layers()

    def row_of(self, op):
        return self.moejit.row(self.plan, op, self.tokens)

    def run_layers(self):
        """One whole layer per launch, each in its own workspace: what the timed ops read is in place afterwards."""
        where, bytes_needed = self.device.torch_device, self.moejit.workspace_bytes(self.plan)
        static = self.mode == "fp8"
        self.keep, self.layers, self.workspaces, self.y = [], [], [], []
        for i in range(LAUNCHES):
            memory = torch.empty(bytes_needed + 256, dtype=torch.uint8, device=where)
            workspace = memory[-memory.data_ptr() % 256:]
            self.moejit.prepare(self.plan, workspace, self.device.stream())
            y, ids = torch.empty_like(self.x[i]), self.ids[i].int().contiguous()
            scale1 = (self.x[i].abs().max().float() / FP8_MAX).reshape(1) if static else None
            layer = mj.make_layer(self.tokens, x=self.x[i], weights1=self.weights.codes[0], weights2=self.weights.codes[1],
                                  topk_ids=ids, topk_weights=self.topk_weights, y=y, workspace=workspace,
                                  weight_scales1=self.weights.scales[0], weight_scales2=self.weights.scales[1],
                                  input_scale1=scale1, input_scale2=self.scale2 if static else None)
            self.moejit.run(self.plan, layer, self.device.stream())
            self.keep += [ids, scale1]
            self.layers.append(layer)
            self.workspaces.append(workspace)
            self.y.append(y)

    def view(self, i, address, shape, dtype):
        """What lies at an address of launch i's workspace, as a tensor."""
        at = address - self.workspaces[i].data_ptr()
        count = math.prod(shape) * torch.empty(0, dtype=dtype).element_size()
        return self.workspaces[i][at:at + count].view(dtype).view(shape)

    def output(self, i, op, shape, dtype=torch.bfloat16):
        return self.view(i, self.moejit.output(self.plan, op, self.layers[i])[0], shape, dtype)

    def quantised_input(self, i, gemm):
        """(codes, scales) that a GEMM reads: quantise1 in token order, quantise2 sorted."""
        rows, k = (self.tokens, self.hidden) if gemm == 1 else (self.pairs, self.inter)
        codes, scales = self.moejit.output(self.plan, f"quantise{gemm}", self.layers[i])
        codes = self.view(i, codes, (rows, k), torch.float8_e4m3fn)
        if self.mode == "fp8":
            return codes, self.keep[2 * i + 1] if gemm == 1 else self.scale2
        shape = (rows,) if self.mode == "fp8_channel" else (rows, k // 128)
        return codes, self.view(i, scales, shape, torch.float32)

    def launch_of(self, op):
        return lambda i: self.moejit.run_op(self.plan, op, self.layers[i], self.device.stream())

    def time_op(self, op):
        return self.device.graph_us(self.launch_of(op), 20)

    def layer_error(self):
        """y against the sum of gemm2's rows: the whole layer hangs together."""
        rows = self.output(0, "gemm2", (self.tokens, self.top_k, self.hidden)).double().sum(1)
        return ((self.y[0].double() - rows).norm() / rows.norm()).item()

    def close(self):
        self.moejit.destroy(self.plan)


class Gemm:
    """What all contestants of one GEMM read: rows in token order (gemm1) or pair order (gemm2), copied from our layer's."""

    def __init__(self, unit, gemm):
        self.unit, self.gemm, self.mode = unit, gemm, unit.mode
        self.experts, self.ids, self.pairs, self.ends, self.order = unit.experts, unit.ids, unit.pairs, unit.ends, unit.order
        self.gather, self.weighted, self.topk_weights = unit.top_k if gemm == 1 else 1, gemm == 2, unit.topk_weights.flatten()
        self.weights, self.weight_scales = unit.weights.codes[gemm - 1], unit.weights.scales[gemm - 1]
        self.n, self.k = self.weights.shape[1:]
        self.inputs, self.input_scales = zip(*(self.rows(i) for i in range(LAUNCHES)))
        if self.mode == "bf16":
            self.weight_scales, self.input_scales = self.topk_weights, [self.topk_weights] * LAUNCHES  # never read
        element, rows = self.weights.element_size(), unit.tokens if gemm == 1 else self.pairs
        self.bytes = unit.active * self.n * self.k * element + rows * self.k * element + self.pairs * self.n * 2
        self.operations = 2.0 * self.pairs * self.n * self.k

    def in_pair_order(self, i, rows):
        out = torch.empty_like(rows)
        out.view(torch.uint8 if rows.element_size() == 1 else rows.dtype)[self.order[i]] = rows.view(
            torch.uint8 if rows.element_size() == 1 else rows.dtype)
        return out

    def rows(self, i):
        """(rows, scales) of launch i."""
        unit = self.unit
        if self.mode == "bf16":
            if self.gemm == 1:
                return unit.x[i], None
            op = "activation" if unit.row_of("activation") else "gemm1_act"
            return self.in_pair_order(i, unit.output(i, op, (self.pairs, self.k))), None
        codes, scales = unit.quantised_input(i, self.gemm)
        if self.gemm == 1:
            return codes.clone(), scales.clone()
        return self.in_pair_order(i, codes), scales if self.mode == "fp8" else self.in_pair_order(i, scales)

    # ---- float64 ----
    def weights_of(self, expert):
        w = self.weights[expert].double()
        if self.mode == "fp8":
            return w * self.weight_scales[expert].double()
        if self.mode == "fp8_channel":
            return w * self.weight_scales[expert].double()[:, None]
        if self.mode == "fp8_block":
            return w * self.weight_scales[expert].double().repeat_interleave(128, 0).repeat_interleave(128, 1)
        return w

    def truth(self, sample):
        """float64 rows for some sorted positions of launch 0, without the top-k weight."""
        out, flat = [], self.ids[0].flatten()
        for pair in self.order[0][sample].tolist():
            source = pair // self.gather
            row = self.inputs[0][source].double()
            if self.mode == "fp8":
                row = row * self.input_scales[0].double()
            elif self.mode != "bf16":
                row = row * self.input_scales[0][source].double().reshape(-1).repeat_interleave(
                    self.k if self.mode == "fp8_channel" else 128)
            out.append(self.weights_of(flat[pair]) @ row)
        return torch.stack(out)

    # ---- Contestants: (launch, output rows of the sample), and what else is to be told ----
    def moejit(self, sample):
        """gemm1 as asked; where the plan has it fused with the activation only, that is what is timed."""
        unit, op = self.unit, f"gemm{self.gemm}"
        fused = self.gemm == 1 and unit.row_of("gemm1") is None
        op = "gemm1_act" if fused else op
        launch = unit.launch_of(op)
        launch(0)  # what it wrote as part of the layer may have been written over by a later op
        got = unit.output(0, op, (self.pairs, self.n // 2 if fused else self.n))
        return launch, got[sample] if self.gemm == 1 else got[self.order[0][sample]], op

    def triton(self, sample, seconds, known):
        from peers_triton import Search
        launch, configs, out = Search(self).run(Gpu.graph_us, Gpu.glance_us, seconds, known)
        return launch, out[self.order[0][sample]], configs

    def torch(self, sample):
        rows = [x.view(torch.uint8 if x.element_size() == 1 else x.dtype)[o // self.gather].view(x.dtype).contiguous()
                for x, o in zip(self.inputs, self.order)]
        w = self.weights.transpose(1, 2)
        if self.mode == "bf16":
            def launch(i):
                return torch._grouped_mm(rows[i], w, offs=self.ends[i], out_dtype=torch.bfloat16)
        else:
            by_row, by_column = self.torch_scales()

            def launch(i):
                return torch._scaled_grouped_mm(rows[i], w, by_row[i], by_column, offs=self.ends[i], out_dtype=torch.bfloat16)
        return launch, launch(0)[sample]

    def torch_scales(self):
        """Per sorted row and per column; a tensor's scale is repeated: the same numbers."""
        if self.mode == "fp8":
            return [s.expand(self.pairs).contiguous() for s in self.input_scales], \
                self.weight_scales[:, None].expand(-1, self.n).contiguous()
        return [s[o // self.gather].contiguous() for s, o in zip(self.input_scales, self.order)], self.weight_scales


def error(got, want):
    return ((got.double() - want).norm(dim=1) / want.norm(dim=1)).max().item()


def in_turns(device, launches):
    """{name_us, name_spread} of each contestant."""
    times = {name: [] for name in launches}
    for turn in range(ROUNDS):
        for name in list(launches)[::-1 if turn % 2 else 1]:
            times[name].append(device.graph_us(launches[name], ROUND_REPLAYS))
    out = {}
    for name, list_us in times.items():
        out[f"{name}_us"] = statistics.median(list_us)
        out[f"{name}_spread"] = (max(list_us) - min(list_us)) / out[f"{name}_us"]
    return out


def other_ops(unit, gemm, op):
    """What runs beside our GEMM: columns of their own."""
    names = {"quantise_us": f"quantise{gemm}"}
    if gemm == 1:
        names.update(activation_us="activation", gemm1_act_us="gemm1_act" if op == "gemm1" else "",
                     gemm1_quantise_us="gemm1_quantise" if op == "gemm1" else "")
    else:
        names.update(combine_us="combine", gemm2_combine_us="gemm2_combine")
    return {column: unit.time_op(name) for column, name in names.items() if name and unit.row_of(name)}


def measure(data, ceilings, options, known):
    """The row of one GEMM."""
    unit, gemm = data.unit, data.gemm
    sample = torch.unique(torch.linspace(0, data.pairs - 1, min(data.pairs, SAMPLES)).long()).to(unit.device.torch_device)
    want, weight, launches = data.truth(sample), 1.0, {}
    if gemm == 2:
        weight = data.topk_weights[data.order[0][sample]].double()[:, None]
    tflops = ceilings["bf16_tflops" if data.mode == "bf16" else "fp8_tflops"]
    by_memory, by_matrix = data.bytes / ceilings["memory_gbps"] / 1e3, data.operations / tflops / 1e6
    row = dict(gemm=gemm, active=unit.active, rows_per_expert=data.pairs / data.experts, bound="memory" if by_memory > by_matrix
               else "matrix", floor_us=max(by_memory, by_matrix), matrix_tflops=tflops, memory_gbps=ceilings["memory_gbps"])
    launches["moejit"], got, op = data.moejit(sample)
    mine = want
    if op == "gemm1_act":
        gate, up = want.chunk(2, dim=1)
        mine = torch.nn.functional.silu(gate) * up
    row.update(moejit_op=op, moejit_error=error(got, mine * weight), **unit.row_of(op))
    if unit.device is Gpu:
        launches["triton"], got, row["triton_configs"] = data.triton(sample, options.triton_seconds, known)
        row["triton_error"] = error(got, want * weight)
    if data.mode != "fp8_block":
        try:
            launch, got = data.torch(sample)
            row["torch_error"], launches["torch"] = error(got, want), launch
        except Exception as failure:
            row["torch_failure"] = f"{type(failure).__name__}: {str(failure)[:80]}"
    row.update(in_turns(unit.device, launches), **other_ops(unit, gemm, op))
    peers = [row[p] for p in ("triton_us", "torch_us") if p in row]
    if peers:
        row.update(peer_us=min(peers), over_peer=row["moejit_us"] / min(peers))
    row["over_floor"] = row["moejit_us"] / row["floor_us"]
    return row


# ---- The run ------------------------------------------------------------------------------------------------------------
def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lib", default="build", help="folder of libmoejit.so")
    parser.add_argument("--device", default="cuda:0", choices=["cuda:0", "cpu"])
    parser.add_argument("--cases", nargs="*", choices=list(CASES))
    parser.add_argument("--modes", nargs="*", default=["bf16", "fp8", "fp8_block", "fp8_channel"], choices=list(SCHEMES))
    parser.add_argument("--batch", nargs="*", type=int)
    parser.add_argument("--routing", nargs="*", default=["uniform", "zipf1"], choices=["uniform", "zipf1"])
    parser.add_argument("--out", default="peers.jsonl", help="rows, one JSON object a line")
    parser.add_argument("--resume", action="store_true", help="skip what --out holds; otherwise it is begun anew")
    parser.add_argument("--budget", type=float, default=0, help="seconds after which no further unit begins; 0: none")
    parser.add_argument("--triton-seconds", type=float, default=8, help="of Triton tuning per GEMM")
    parser.add_argument("--peers-from", help="an earlier --out: Triton's configs from there")
    parser.add_argument("--baseline", help="an earlier run of the peers alone (their own JSON), to compare their ratio to the floor")
    parser.add_argument("--json", help="all rows as one file, for tests/bench/readme_tables.lua")
    return parser.parse_args()


def units(options):
    cases = SMOKE if options.device == "cpu" else {c: CASES[c] for c in options.cases or CASES}
    batch = options.batch or ((1, 5) if options.device == "cpu" else BATCH)
    for routing in options.routing:
        for tokens in batch:
            for mode in options.modes:
                for name, case in cases.items():
                    yield routing, tokens, mode, name, case


def weights_of(made, name, case, mode, device):
    """Those of a layer and a mode, made once."""
    if (name, mode) not in made:
        torch.manual_seed(0)
        made[name, mode] = Weights(case, mode, device.torch_device)
    return made[name, mode]


def run_unit(moejit, device, ceilings, options, weights, key, case, known):
    """The two rows of a unit."""
    name, mode, routing, tokens = key
    unit = Unit(moejit, device, case, mode, routing, tokens, weights_of(weights, name, case, mode, device))
    try:
        for gemm in (1, 2):
            row = dict(case=name, mode=mode, routing=routing, tokens=tokens, device=device.describe())
            row.update(measure(Gemm(unit, gemm), ceilings, options, known.get((name, mode, routing, tokens, gemm))))
            row["layer_error"] = unit.layer_error()
            yield row
    finally:
        unit.close()


def hand_over(known, row):
    """The best configs of uniform routing to zipf1, as both sides are tuned before they meet a skew; and fp8's to fp8_channel, the same
    products with other scales."""
    case, mode, routing, tokens, gemm = peers_report.key(row)
    if not row.get("triton_configs"):
        return
    for other in (mode, "fp8_channel") if mode == "fp8" else (mode,):
        for skew in (routing, "zipf1"):
            known.setdefault((case, other, skew, tokens, gemm), row["triton_configs"])


def main():
    options = arguments()
    device, start = Cpu if options.device == "cpu" else Gpu, time.time()
    earlier = peers_report.read_rows(options.out) if options.resume else []
    earlier = [r for r in earlier if r.get("device") == device.describe()]  # another card's rows are no part of this run
    known = {peers_report.key(r): r.get("triton_configs") for r in
             (peers_report.read_rows(options.peers_from) if options.peers_from else [])}
    for row in earlier:
        hand_over(known, row)
    done = {peers_report.key(r) for r in earlier}
    if device is Gpu:
        import peers_triton
        peers_triton.compile_all(options.modes)
    moejit, ceilings, weights = mj.Moejit(options.lib, device.name), device.ceilings(), {}
    triton = sys.modules["triton"].__version__ if device is Gpu else "not used"
    head = dict(device=device.describe(), torch=torch.__version__, triton=triton, moejit=moejit.lib.mj_version().decode(), **ceilings)
    print(" ".join(f"{k} {v:.0f}" if isinstance(v, float) else f"{k} {v}" for k, v in head.items()), flush=True)
    left, failed = 0, 0
    with peers_report.open_rows(options.out, options.resume) as out:
        for routing, tokens, mode, name, case in units(options):
            key = (name, mode, routing, tokens)
            if all((*key, gemm) in done for gemm in (1, 2)):
                continue
            if options.budget and time.time() - start > options.budget:
                left += 1
                continue
            try:
                for row in run_unit(moejit, device, ceilings, options, weights, key, case, known):
                    hand_over(known, row)
                    if (*key, row["gemm"]) not in done:
                        earlier.append(row)
                        out.write(json.dumps(row) + "\n")
                        out.flush()
                        print(peers_report.line(row), flush=True)
            except Exception as failure:  # one unit's: a resumed run tries it again
                failed += 1
                print(f"{' '.join(map(str, key))}: {type(failure).__name__}: {failure}", flush=True)
                if "CUDA error" in str(failure):
                    break
    moejit.close()
    print(peers_report.summary(earlier, options.baseline))
    if options.json:
        peers_report.write_json(options.json, head, earlier)
    print(f"{len(earlier)} rows in {time.time() - start:.0f} s, {failed} units failed, {left} left" +
          (": the same command with --resume goes on" if left + failed else ""))
    sys.exit(1 if failed else 6 if left else 0)  # as moejit's own: 6 where the time was spent first


if __name__ == "__main__":
    main()
