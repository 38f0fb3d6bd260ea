"""The peers' kernel: an expert-sorted grouped GEMM in Triton of the shape that vLLM and SGLang serve with, and the search over its
configs. Scales as in the scheme: none, per tensor, per token and channel, or 128x128 weight blocks with 1x128 input groups."""
import itertools
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor

import torch
import triton
import triton.language as tl

SCALES = {"bf16": 0, "fp8": 1, "fp8_channel": 2, "fp8_block": 3}
FINALISTS = 5


@triton.jit(do_not_specialize=["top_k", "pair_count", "group", "blocks"])
def grouped_gemm(a, w, out, a_scales, w_scales, weights, pair_ids, block_experts, n, k, pair_count, top_k, group, blocks,
                 TILE_M: tl.constexpr, TILE_N: tl.constexpr, TILE_K: tl.constexpr, WEIGHTED: tl.constexpr, MODE: tl.constexpr):
    columns = tl.cdiv(n, TILE_N)
    pid = tl.program_id(0)
    group_first = pid // (group * columns) * group
    group_rows = min(blocks - group_first, group)
    block = group_first + pid % (group * columns) % group_rows
    column = pid % (group * columns) // group_rows
    pairs = tl.load(pair_ids + block * TILE_M + tl.arange(0, TILE_M))
    real = pairs < pair_count
    expert = tl.load(block_experts + block).to(tl.int64)
    rows = (pairs // top_k).to(tl.int64)
    columns_at = (column * TILE_N + tl.arange(0, TILE_N)) % n
    ks = tl.arange(0, TILE_K)
    a_at = a + rows[:, None] * k + ks[None, :]
    w_at = w + expert * n * k + ks[:, None] + columns_at[None, :].to(tl.int64) * k
    total = tl.zeros((TILE_M, TILE_N), dtype=tl.float32)
    groups = k // 128
    for step in range(0, tl.cdiv(k, TILE_K)):
        a_tile = tl.load(a_at, mask=real[:, None], other=0.0)
        w_tile = tl.load(w_at)
        if MODE == 3:
            of_rows = tl.load(a_scales + rows * groups + step, mask=real, other=0.0)
            of_columns = tl.load(w_scales + (expert * (n // 128) + columns_at // 128) * groups + step)
            total += tl.dot(a_tile, w_tile) * of_rows[:, None] * of_columns[None, :]
        else:
            total = tl.dot(a_tile, w_tile, acc=total)
        a_at += TILE_K
        w_at += TILE_K
    if MODE == 1:
        total = total * (tl.load(a_scales) * tl.load(w_scales + expert))
    if MODE == 2:
        total = total * tl.load(a_scales + rows, mask=real, other=0.0)[:, None]
        total = total * tl.load(w_scales + expert * n + columns_at)[None, :]
    if WEIGHTED:
        total = total * tl.load(weights + pairs, mask=real, other=0.0)[:, None]
    out_columns = column * TILE_N + tl.arange(0, TILE_N)
    tl.store(out + pairs[:, None].to(tl.int64) * n + out_columns[None, :], total.to(tl.bfloat16),
             mask=real[:, None] & (out_columns[None, :] < n))


@triton.jit
def read_all(source, out, count, BLOCK: tl.constexpr):
    total = tl.zeros((BLOCK,), dtype=tl.int32)
    for i in range(tl.program_id(0) * BLOCK, count, tl.num_programs(0) * BLOCK):
        total ^= tl.load(source + i + tl.arange(0, BLOCK))
    tl.store(out + tl.program_id(0), tl.sum(total, 0))


def space(mode, rows_per_expert=None):
    """(tile_m, tile_n, tile_k, group, warps, stages), those that such tuners try; fewer where the rows of an expert are known."""
    element = 2 if mode == "bf16" else 1
    for tile_m, tile_n, tile_k, group, warps, stages in itertools.product(
            (16, 32, 64, 128), (64, 128, 256), (64, 128, 256), (1, 16), (4, 8), (2, 3, 4, 5)):
        small = tile_m <= 32
        if (tile_m + tile_n) * tile_k * element * stages > 220 * 1024 or element == 2 and tile_k > 128 and not small:
            continue
        if element == 1 and tile_k < 128 or mode == "fp8_block" and tile_k != 128:
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


def compile_some(job):
    mode, top_k, weighted, configs = job
    element = torch.zeros(16, device="cuda", dtype=torch.bfloat16 if mode == "bf16" else torch.float8_e4m3fn)
    out, f32 = torch.zeros(16, device="cuda", dtype=torch.bfloat16), torch.zeros(16, device="cuda")
    i32 = torch.zeros(16, device="cuda", dtype=torch.int32)
    for tile_m, tile_n, tile_k, group, warps, stages in configs:
        try:
            grouped_gemm.warmup(element, element, out, f32, f32, f32, i32, i32, 4096, 4096, 4096, top_k, group, 4096,
                                TILE_M=tile_m, TILE_N=tile_n, TILE_K=tile_k, WEIGHTED=weighted, MODE=SCALES[mode],
                                num_warps=warps, num_stages=stages, grid=(1,))
        except Exception:  # does not fit: the timed run meets the same error and skips the config
            pass


def compile_all(modes):
    """Fills Triton's cache with several processes. After fp8, channel takes its best configs: few, compiled when they are timed."""
    jobs = []
    for mode in modes:
        configs = [c for c in space(mode) if c[3] == 16] if mode != "fp8_channel" or "fp8" not in modes else []
        for top_k, weighted in ((8, False), (1, True)):
            jobs += [(mode, top_k, weighted, configs[i:i + 4]) for i in range(0, len(configs), 4)]
    with ProcessPoolExecutor(min(14, os.cpu_count()), mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(compile_some, jobs))


def aligned(ids, experts, tile_m):
    """Pairs sorted by expert, each expert padded to whole tiles; and the expert of every tile."""
    flat = ids.flatten()
    order = torch.argsort(flat, stable=True)
    rows = torch.bincount(flat, minlength=experts)
    padded = (rows + tile_m - 1) // tile_m * tile_m
    first, padded_first = torch.cumsum(rows, 0) - rows, torch.cumsum(padded, 0) - padded
    pairs = torch.full((int(padded.sum()),), flat.numel(), dtype=torch.int32, device=ids.device)
    pairs[torch.arange(flat.numel(), device=ids.device) - first[flat[order]] + padded_first[flat[order]]] = order.int()
    owners = torch.repeat_interleave(torch.arange(experts, dtype=torch.int32, device=ids.device), padded // tile_m)
    return pairs, owners


class Search:
    """The configs of one GEMM, timed at a glance, the best few properly."""

    def __init__(self, data):
        self.data, self.blocks = data, {}
        self.outs = [torch.empty(data.pairs, data.n, device=data.weights.device, dtype=torch.bfloat16) for _ in data.ids]

    def launch(self, config):
        d, (tile_m, tile_n, tile_k, group, warps, stages) = self.data, config
        if tile_m not in self.blocks:
            self.blocks[tile_m] = [aligned(ids, d.experts, tile_m) for ids in d.ids]

        def issue(i):
            pairs, owners = self.blocks[tile_m][i]
            grouped_gemm[(owners.numel() * triton.cdiv(d.n, tile_n),)](
                d.inputs[i], d.weights, self.outs[i], d.input_scales[i], d.weight_scales, d.topk_weights, pairs, owners, d.n, d.k,
                d.pairs, d.gather, group, owners.numel(), TILE_M=tile_m, TILE_N=tile_n, TILE_K=tile_k, WEIGHTED=d.weighted,
                MODE=SCALES[d.mode], num_warps=warps, num_stages=stages)
        return issue

    def run(self, graph_us, glance_us, seconds, known=None):
        """(the best one's launch, the best configs first, output of launch 0); `known`: configs to time instead of searching."""
        until, found = time.time() + seconds, []
        configs = [tuple(c) for c in known or []] or list(space(self.data.mode, self.data.pairs / self.data.experts))
        for config in configs:
            try:
                launch = self.launch(config)
                found.append((glance_us(launch), config))
            except Exception:  # does not fit the device
                continue
            if time.time() > until:
                break
        timed = sorted((graph_us(self.launch(config), 20), config) for _, config in sorted(found)[:FINALISTS])
        launch = self.launch(timed[0][1])
        launch(0)
        return launch, [config for _, config in timed], self.outs[0]
