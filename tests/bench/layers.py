#!/usr/bin/env python3
"""Whole layers, and their GEMMs alone, of two builds in turns: did a change help where it counts?

Both libraries serve the same random layers (peers.py's) in one process, each by its own plan: choices of its store, else of the estimate.
A line per layer, format and batch size: microseconds of OLD, of NEW, and NEW / OLD, for the layer and for both GEMMs, timed as peers.py
times its contestants: medians of three rounds in turns, each over a CUDA graph of ten launches.

  python3 tests/bench/layers.py build-old build
  python3 tests/bench/layers.py build-old build --cases deepseek-v3-tp8 --modes fp8_block --batch 1 16
"""
import argparse
import time

import moejit_ctypes as mj
import peers


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", help="folder of the one libmoejit.so")
    parser.add_argument("new", help="folder of the other")
    parser.add_argument("--device", default="cuda:0", choices=["cuda:0", "cpu"])
    parser.add_argument("--cases", nargs="*", choices=list(peers.CASES))
    parser.add_argument("--modes", nargs="*", default=["bf16", "fp8", "fp8_block"], choices=list(peers.SCHEMES))
    parser.add_argument("--batch", nargs="*", type=int, default=[1, 16, 256])
    parser.add_argument("--routing", nargs="*", default=["uniform"], choices=["uniform", "zipf1"])
    parser.add_argument("--budget", type=float, default=0, help="seconds after which no further layer begins; 0: none")
    return parser.parse_args()


def launch_of(library, unit, what):
    if what != "layer":
        return unit.launch_of(what)
    return lambda i: library.run(unit.plan, unit.layers[i], unit.device.stream())


def compare(device, libraries, *unit_of):
    """"layer 37.0 -> 32.0 (0.866)", and so on."""
    units, parts = {name: peers.Unit(library, device, *unit_of) for name, library in libraries.items()}, []
    try:
        for what in ("layer", "gemm1", "gemm2"):
            row = peers.in_turns(device, {name: launch_of(libraries[name], unit, what) for name, unit in units.items()})
            old, new = row["old_us"], row["new_us"]
            parts.append(f"{what} {old:.1f} -> {new:.1f} ({new / old:.3f})")
    finally:
        for unit in units.values():
            unit.close()
    return " | ".join(parts)


def main():
    options, start, weights = arguments(), time.time(), {}
    device = peers.Cpu if options.device == "cpu" else peers.Gpu
    libraries = {name: mj.Moejit(folder, device.name) for name, folder in (("old", options.old), ("new", options.new))}
    for routing, tokens, mode, name, case in peers.units(options):
        if options.budget and time.time() - start > options.budget:
            print(f"{name} {mode} {routing} {tokens}: no time left", flush=True)
            continue
        made = peers.weights_of(weights, name, case, mode, device)
        print(name, mode, routing, tokens, compare(device, libraries, case, mode, routing, tokens, made), flush=True)
    for library in libraries.values():
        library.close()


if __name__ == "__main__":
    main()
