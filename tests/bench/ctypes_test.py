"""ctypes_test.py BUILD: what moejit_ctypes.py believes of libmoejit is what the C headers say. Run from the top folder.

Structs and constants against sizeof and offsetof of a small C program; layer_call on the cpu device, without PyTorch; what
peers_report.py makes of made-up rows.
"""
import array
import ctypes
import json
import math
import os
import random
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, "tests/bench")
import moejit_ctypes as mj  # noqa: E402
import peers_report  # noqa: E402


def struct_lines(structs):
    """What the C program is to print, from the classes: 'name size', 'name.field offset size'."""
    lines = []
    for name, kind in structs.items():
        lines.append(f"{name} {ctypes.sizeof(kind)}")
        for field, _ in kind._fields_:
            place = getattr(kind, field)
            lines.append(f"{name}.{field} {place.offset} {place.size}")
    return lines


def c_program(structs, constants):
    out = ['#include <stddef.h>', '#include <stdio.h>', '#include "moejit.h"', 'int main(void)', '{']
    for name, kind in structs.items():
        out.append(f'printf("{name} %zu\\n", sizeof({name}));')
        for field, _ in kind._fields_:
            out.append(f'printf("{name}.{field} %zu %zu\\n", offsetof({name}, {field}), sizeof((({name} *)0)->{field}));')
    out += [f'printf("{name} %lld\\n", (long long)({name}));' for name in constants]
    return "\n".join(out + ["return 0;", "}"]) + "\n"


def from_c(folder, structs, constants):
    source, program = os.path.join(folder, "layout.c"), os.path.join(folder, "layout")
    with open(source, "w") as out:
        out.write(c_program(structs, constants))
    subprocess.run(["gcc", "-std=c11", "-Wall", "-Werror", "-Igenerator", "-Iruntime", "-o", program, source], check=True)
    return subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines()


def test_layouts(folder, _build):
    wanted = struct_lines(mj.STRUCTS) + [f"{name} {value}" for name, value in mj.CONSTANTS.items()]
    for got, want in zip(from_c(folder, mj.STRUCTS, mj.CONSTANTS), wanted, strict=True):
        assert got == want, f"C says '{got}', moejit_ctypes.py '{want}'"


def test_a_wrong_layout_is_found(folder, _build):
    class Wrong(ctypes.Structure):
        _fields_ = [("max_tokens", ctypes.c_uint32), ("flags", ctypes.c_uint64), ("routing", ctypes.c_char_p)]
    wrong = {"mj_plan_options": Wrong}
    assert from_c(folder, wrong, {}) != struct_lines(wrong)


# ---- A tensor of bf16, int32 or float32 in host memory, as much of PyTorch's as layer_call needs ----
class Tensor:
    def __init__(self, shape, code, values=None):
        self.shape, count = shape, math.prod(shape)
        size = array.array(code).itemsize
        self.memory = ctypes.create_string_buffer(count * size + 64)
        start = (ctypes.addressof(self.memory) + 63) // 64 * 64
        self.items = ({"H": ctypes.c_uint16, "i": ctypes.c_int32, "f": ctypes.c_float}[code] * count).from_address(start)
        for i, value in enumerate(values or []):
            self.items[i] = value

    def data_ptr(self):
        return ctypes.addressof(self.items)


def bf16(value):
    bits = struct.unpack("<I", struct.pack("<f", value))[0]
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16


def value_of(code):
    return struct.unpack("<f", struct.pack("<I", code << 16))[0]


def random_bf16(shape, scale, source):
    return Tensor(shape, "H", (bf16(source.uniform(-scale, scale)) for _ in range(math.prod(shape))))


def dot(a, a_at, b, b_at, count):
    return sum(value_of(a.items[a_at + i]) * value_of(b.items[b_at + i]) for i in range(count))


def layer_of(x, w1, w2, ids, weights, token, hidden, inter, top_k):
    """A token's row of y in double precision."""
    out = [0.0] * hidden
    for slot in range(token * top_k, (token + 1) * top_k):
        expert = ids.items[slot]
        sums = [dot(x, token * hidden, w1, (expert * 2 * inter + n) * hidden, hidden) for n in range(2 * inter)]
        rows = Tensor((inter,), "H", (bf16(g / (1 + math.exp(-g)) * u) for g, u in zip(sums[:inter], sums[inter:])))
        for h in range(hidden):
            out[h] += weights.items[slot] * dot(rows, 0, w2, (expert * hidden + h) * inter, inter)
    return out


def test_layer_call(folder, build):
    experts, top_k, hidden, inter, tokens, source = 3, 2, 32, 16, 3, random.Random(1)
    x, y = random_bf16((tokens, hidden), 1, source), Tensor((tokens, hidden), "H")
    w1, w2 = random_bf16((experts, 2 * inter, hidden), 0.3, source), random_bf16((experts, hidden, inter), 0.3, source)
    ids, weights = Tensor((tokens, top_k), "i", [0, 1, 2, 0, 1, 2]), Tensor((tokens, top_k), "f", [0.7, 0.3] * tokens)
    moejit = mj.Moejit(build, "cpu", cache_dir=folder + "/cache", store_dir=folder + "/store")
    plan = moejit.plan(experts, top_k, hidden, inter, max_tokens=4)
    mj.layer_call(moejit, plan, x, w1, w2, ids, weights, y)
    for token in range(tokens):
        want = layer_of(x, w1, w2, ids, weights, token, hidden, inter, top_k)
        size = math.sqrt(sum(v * v for v in want) / hidden)
        for h in range(hidden):
            got = value_of(y.items[token * hidden + h])
            assert abs(got - want[h]) <= 0.02 * (abs(want[h]) + size), f"y[{token}][{h}] is {got}, not {want[h]}"
    row = moejit.row(plan, "gemm2", tokens)
    assert row["origin"] in mj.ORIGINS and row["family"] and moejit.row(plan, "quantise1", tokens) is None
    assert moejit.op("gemm1") is not None and moejit.op("no such op") is None
    layer = mj.make_layer(tokens, x=x, weights1=w1, weights2=w2, topk_ids=ids, topk_weights=weights, y=y)
    assert moejit.output(plan, "combine", layer) == (y.data_ptr(), None)
    try:
        moejit.plan(experts, top_k, hidden, inter, 4, scheme="bf15")
        raise AssertionError("a plan of scheme bf15")
    except RuntimeError as failure:
        assert "bf15" in str(failure), failure
    moejit.destroy(plan)
    packed, again = Tensor((experts, 2 * inter, hidden), "H"), Tensor((tokens, hidden), "H")
    problem = moejit.problem(experts, top_k, hidden, inter, layout="interleaved8")
    moejit.pack_weights(problem, w1, packed, 2 * experts * 2 * inter * hidden)
    assert packed.items[8 * hidden] == w1.items[inter * hidden] and packed.items[:8 * hidden] == w1.items[:8 * hidden]
    plan = moejit.plan(experts, top_k, hidden, inter, max_tokens=4, layout="interleaved8")
    mj.layer_call(moejit, plan, x, packed, w2, ids, weights, again)
    size = max(abs(value_of(item)) for item in y.items)
    assert all(abs(value_of(a) - value_of(b)) <= 0.02 * size for a, b in zip(again.items, y.items))
    moejit.destroy(plan)
    moejit.close()


def test_readme_shows_layer_call(_folder, _build):
    with open("tests/bench/moejit_ctypes.py") as file:
        text = file.read()
    function = text[text.index("def layer_call("):].rstrip()
    with open("README.md") as file:
        assert function in file.read(), "README.md: 'From PyTorch' differs from layer_call in tests/bench/moejit_ctypes.py"


# ---- The report of peers.py ----
def made_up_row(tokens, ours, peer, floor, **more):
    row = dict(case="layer", gemm=1, mode="bf16", routing="uniform", tokens=tokens, bound="memory", rows_per_expert=tokens,
               floor_us=floor, moejit_us=ours, moejit_op="gemm1", moejit_error=0.001, family="f", config="c", origin="store",
               verified=True, triton_us=peer, triton_error=0.002, peer_us=peer, over_peer=ours / peer, over_floor=ours / floor)
    return dict(row, **more)


def test_report_counts_what_is_behind(folder, _build):
    rows = [made_up_row(1, 10.0, 20.0, 7.0), made_up_row(16, 40.0, 20.0, 38.0, moejit_error=0.003),
            made_up_row(64, 114.0, 114.0, 100.0, bound="matrix", rows_per_expert=512),
            made_up_row(256, 126.0, 126.0, 100.0, bound="matrix", verified=False)]
    line = [cell.strip() for cell in peers_report.summary_line("bf16", "uniform", rows).strip("|").split("|")]
    assert line == ["bf16", "uniform", "4", "1.000", "1.05", "1", "2.000 (layer gemm1 M=16)", "1.212", "1", "1", "1"], line
    errors = [peers_report.worse_error(dict(rows[0], moejit_error=e)) for e in (0.002, 0.0022, math.nan, math.inf)]
    assert errors == [False, True, True, True], errors
    assert [r["moejit_us"] > peers_report.limit_us(r) for r in rows] == [False, False, False, True]
    path = os.path.join(folder, "baseline.json")
    with open(path, "w") as file:
        json.dump([dict(case="layer", gemm="gemm1", M=m, bf16_floor=10.0, bf16_triton=t, bf16_torch=99.0)
                   for m, t in ((1, 28.0), (16, 5.2), (64, 13.0))], file)
    compared, moved = peers_report.against_baseline(rows, peers_report.baseline_ratios(path))
    assert compared == 3 and len(moved) == 1 and "M=64 bf16: 1.30 -> 1.14" in moved[0], (compared, moved)
    assert "126.0 us, limit 125.0" in peers_report.summary(rows, path)


def test_rows_survive_a_torn_line(folder, _build):
    path = os.path.join(folder, "rows.jsonl")
    rows = [made_up_row(1, 1.0, 1.0, 1.0), made_up_row(16, 1.0, 1.0, 1.0), made_up_row(1, 2.0, 1.0, 1.0)]
    with open(path, "w") as file:
        file.write("".join(json.dumps(r) + "\n" for r in rows) + '{"case": "lay')
    assert [r["moejit_us"] for r in peers_report.read_rows(path)] == [2.0, 1.0]
    assert all(peers_report.line(r) for r in rows) and peers_report.read_rows(path + "x") == []


def test_a_row_behind_a_torn_line_is_kept(folder, _build):
    path, line = os.path.join(folder, "resumed.jsonl"), json.dumps(made_up_row(1, 1.0, 1.0, 1.0)) + "\n"
    for before, after in (('{"case": "lay', '{"case": "lay\n' + line), (line, line + line), ("", line), (None, line)):
        if before is None:
            os.remove(path)
        else:
            with open(path, "w") as file:
                file.write(before)
        with peers_report.open_rows(path, True) as out:
            out.write(line)
        with open(path) as file:
            assert file.read() == after, before
        assert len(peers_report.read_rows(path)) == 1, before
    with peers_report.open_rows(path, False) as out:
        assert out.tell() == 0
    assert os.path.getsize(path) == 0


def main():
    bad = False
    tests = (test_layouts, test_a_wrong_layout_is_found, test_layer_call, test_report_counts_what_is_behind,
             test_rows_survive_a_torn_line, test_a_row_behind_a_torn_line_is_kept, test_readme_shows_layer_call)
    with tempfile.TemporaryDirectory() as folder:
        for test in tests:
            name = test.__name__[len("test_"):]
            try:
                test(folder, os.path.abspath(sys.argv[1]))
                print("ok", name)
            except Exception as failure:  # one line per case, whatever went wrong
                bad = True
                print(f"FAIL {name}: {type(failure).__name__}: {failure}")
    sys.exit(bad)


main()
