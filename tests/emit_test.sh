#!/bin/bash
# emit_test.sh BUILD NOGEN: what BUILD emits is served by NOGEN (MOEJIT_GENERATOR=OFF) with every compiler refused.
set -u
build=$1
nogen=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HOME=$work XDG_CACHE_HOME=$work/cache XDG_DATA_HOME=$work/data XDG_STATE_HOME=$work/state

check() { # name, code, output
    if [ "$2" -eq 0 ]; then
        echo "ok $1"
    else
        echo "FAIL $1: $(echo "$3" | tail -n 4 | tr '\n' ' ')"
    fi
}

# A small layer: its config.json names everything that a problem needs.
cat >"$work/config.json" <<'JSON'
{"num_local_experts": 8, "num_experts_per_tok": 2, "hidden_size": 256, "intermediate_size": 512, "hidden_act": "silu"}
JSON

emit() { # arch[,arch...] [folder [scheme]]
    output=$("$build/moejit" emit --model "$work/config.json" --arch "$1" --batch 1 16 --scheme "${3:-bf16}" \
        --out "$work/${2:-$1}" 2>&1)
}

# Builds serve_pack.c with the C file of a pack, against the library without a generator.
build_server() { # folder program
    source=$(ls "$work/$1"/*.c 2>/dev/null)
    symbol=$(sed -nE 's/^const mj_pack \*(moejit_pack_[A-Za-z0-9_]+)\(void\);$/\1/p' "$source" | head -1)
    output=$(gcc -std=c11 -Wall -Wextra -Werror -Igenerator -Iruntime "-DPACK=$symbol" -o "$work/$2" \
        tests/examples/serve_pack.c "$source" -L"$nogen" -lmoejit -Wl,-rpath,"$(realpath "$nogen")" -lm 2>&1)
}

emit cpu
check emits_for_cpu $? "$output"
build_server cpu serve
check generated_file_compiles $? "$output"

# A new home, so no cache; no NVRTC and no C compiler.
output=$(env -i HOME="$work/other" PATH=/nowhere MOEJIT_NVRTC=/nowhere/libnvrtc.so MOEJIT_CC=/nowhere/cc "$work/serve" cpu 256 512 2>&1)
check serves_without_generator_or_compiler $? "$output"
echo "$output" | grep -qE "^gemm1_act .* cpu: .*pack" # the estimate takes it for the shorter sequence; y is checked above
check serves_gemm1_with_its_activation $? "$output"

# Another problem than the pack's is refused, not served by accident.
output=$(env -i HOME="$work/other" "$work/serve" cpu 256 1024 2>&1)
code=$?
[ $code -eq 1 ] && echo "$output" | grep -q "^plan: MJ_ERR_UNSUPPORTED: .*N=1024.*no kernel"
check refuses_another_problem $? "code $code for a problem that the pack does not hold: $output"

# Codes, scales and zero points of a quantised pack are checked by what its manifests say of the scheme.
for scheme in fp8_w8a8_block int4_w4a16_zp; do
    emit cpu "$scheme" "$scheme" && build_server "$scheme" "serve_$scheme" &&
        output=$(env -i HOME="$work/other" PATH=/nowhere MOEJIT_CC=/nowhere/cc "$work/serve_$scheme" cpu 256 512 "$scheme" 2>&1) &&
        echo "$output" | grep -q "every kernel is verified"
    check "checks_itself_without_generator_$scheme" $? "$output"
done

if [ -n "${MOEJIT_NVRTC:-}" ]; then
    emit sm_90a
    check emits_for_an_absent_gpu $? "$output"
    check writes_cubins "$([ -n "$(ls "$work"/sm_90a/*.cubin 2>/dev/null)" ]; echo $?)" "$(ls "$work/sm_90a" 2>&1)"
else
    echo "SKIP emits_for_an_absent_gpu: no NVRTC"
    echo "SKIP writes_cubins: no NVRTC"
fi

# One pack for several archs: each device takes its own kernels. What cannot be compiled here is left out.
archs=cpu
endings=so
[ -n "${MOEJIT_NVRTC:-}" ] && archs=$archs,sm_80,sm_90a && endings="$endings cubin"
[ -n "${MOEJIT_HIPRTC:-}" ] && archs=$archs,gfx942,gfx1100 && endings="$endings co"
emit "$archs" fat
check emits_for_several_archs $? "$output"
for ending in $endings; do
    [ -n "$(ls "$work"/fat/*."$ending" 2>/dev/null)" ]
    check "a_fat_pack_holds_$ending" $? "$(ls "$work/fat" 2>&1)"
done
[ "$(find "$work/fat" -name pack.json -exec grep -c '"arch"' {} +)" = "$(echo "$archs" | tr ',' '\n' | grep -c .)" ]
check one_table_lists_every_arch $? "$archs: $(grep '"arch"' "$work"/fat/pack.json 2>&1)"
build_server fat serve_fat
check a_fat_file_compiles $? "$output"
output=$(env -i HOME="$work/other" PATH=/nowhere MOEJIT_NVRTC=/nowhere/libnvrtc.so MOEJIT_CC=/nowhere/cc "$work/serve_fat" cpu 256 512 2>&1)
check a_fat_pack_serves_this_device $? "$output"

# On scripted drivers, which take a kernel but run nothing: the plan's rows say whose kernels a device was given.
rows_of() { # device family variable=value...
    local device=$1 family=$2
    shift 2
    output=$(env -i HOME="$work/other" PATH=/nowhere "$@" "$work/serve_fat" "$device" 256 512 2>&1)
    echo "$output" | grep -qE "^gemm1 .* $family: pack"
}
if [ -n "${MOEJIT_NVRTC:-}" ]; then
    rows_of cuda:0 '(mma|wgmma)' MOEJIT_LIBCUDA="$(realpath "$build")/tests/libfake_cuda.so"
    check a_fat_pack_on_sm_90a $? "$output"
else
    echo "SKIP a_fat_pack_holds_cubin: no NVRTC"
    echo "SKIP a_fat_pack_on_sm_90a: no NVRTC"
fi
if [ -n "${MOEJIT_HIPRTC:-}" ]; then
    libhip=$(realpath "$build")/tests/libfake_hip.so
    rows_of hip:0 mfma MOEJIT_LIBHIP="$libhip" FAKE_HIP="arch=942"
    check a_fat_pack_on_gfx942 $? "$output"
    rows_of hip:1 wmma MOEJIT_LIBHIP="$libhip" FAKE_HIP="devices=2;arch1=1100"
    check a_fat_pack_on_gfx1100_in_a_mixed_machine $? "$output"
    rows_of hip:0 none MOEJIT_LIBHIP="$libhip" FAKE_HIP="arch=1200"
    echo "$output" | grep -q "MJ_ERR_UNSUPPORTED: .*no kernel"
    check a_fat_pack_has_nothing_for_another $? "$output"
else
    for case in a_fat_pack_holds_co a_fat_pack_on_gfx942 a_fat_pack_on_gfx1100_in_a_mixed_machine a_fat_pack_has_nothing_for_another; do
        echo "SKIP $case: no hipRTC"
    done
fi
