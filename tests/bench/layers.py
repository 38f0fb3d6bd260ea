#!/usr/bin/env python3
"""Whole layers, and their GEMMs alone, of two builds in turns: did a change help where it counts?

Both libraries serve the same random layers (peers.py's) in one process, each by its own plan: choices of its store, else of the estimate.
A line per layer, format and batch size: microseconds of OLD, of NEW, and NEW / OLD, for the layer and for both GEMMs; medians of three
turns, each over a CUDA graph of ten launches.

  python3 tests/bench/layers.py build-old build
  python3 tests/bench/layers.py build-old build --cases deepseek-v3-tp8 --modes fp8_block --batch 1 16
"""
import argparse
import statistics
import time

import torch

import moejit_ctypes as mj
import peers

TURNS, REPLAYS = 3, 12


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", help="folder of the one libmoejit.so")
    parser.add_argument("new", help="folder of the other")
    parser.add_argument("--device", default="cuda:0", choices=["cuda:0", "cpu"])
    parser.add_argument("--cases", nargs="*", choices=list(peers.CASES))
    parser.add_argument("--modes", nargs="*", default=["bf16", "fp8", "fp8_block"], choices=list(peers.SCHEMES))
    parser.add_argument("--batch", nargs="*", type=int, default=[1, 16, 256])
    parser.add_argument("--routing", default="uniform", choices=["uniform", "zipf1"])
    parser.add_argument("--budget", type=float, default=0, help="seconds after which no further layer begins; 0: none")
    return parser.parse_args()


def launches(library, unit, what):
    if what != "layer":
        return unit.launch_of(what)
    return lambda i: library.run(unit.plan, unit.layers[i], unit.device.stream())


def compare(device, libraries, case, mode, routing, tokens, weights):
    """"layer 37.0 -> 32.0 (0.866)", and so on."""
    units, parts = [peers.Unit(l, device, case, mode, routing, tokens, weights) for l in libraries], []
    try:
        for what in ("layer", "gemm1", "gemm2"):
            each, times = [launches(l, u, what) for l, u in zip(libraries, units)], ([], [])
            for _ in range(TURNS):
                for launch, samples in zip(each, times):
                    samples.append(device.graph_us(launch, REPLAYS))
            old, new = map(statistics.median, times)
            parts.append(f"{what} {old:.1f} -> {new:.1f} ({new / old:.3f})")
    finally:
        for unit in units:
            unit.close()
    return " | ".join(parts)


def main():
    options, start = arguments(), time.time()
    device = peers.Cpu if options.device == "cpu" else peers.Gpu
    cases = peers.SMOKE if options.device == "cpu" else {c: peers.CASES[c] for c in options.cases or peers.CASES}
    libraries = [mj.Moejit(folder, device.name) for folder in (options.old, options.new)]
    for mode in options.modes:
        for name, case in cases.items():
            torch.manual_seed(0)
            weights = peers.Weights(case, mode, device.torch_device)
            for tokens in options.batch:
                if options.budget and time.time() - start > options.budget:
                    print(f"{name} {mode} {tokens}: no time left", flush=True)
                    continue
                print(name, mode, tokens, compare(device, libraries, case, mode, options.routing, tokens, weights), flush=True)
    for library in libraries:
        library.close()


if __name__ == "__main__":
    main()
