-- e4m3 spelt out as a table of 256 values, to show that a float format fits one too.
local decode = {}
for code = 0, 255 do
    local sign, exponent, mantissa = code >= 128 and -1 or 1, code // 8 % 16, code % 8
    local value
    if exponent == 15 and mantissa == 7 then
        value = 0 / 0
    elseif exponent == 0 then
        value = sign * mantissa * 2.0 ^ -9
    else
        value = sign * (1 + mantissa / 8) * 2.0 ^ (exponent - 7)
    end
    decode[code + 1] = value
end
return {
    doc = "e4m3 through a table",
    supported = false,
    weight = {
        format = "e4m3",
        bits = 8,
        decode = decode,
        packing = { word_bits = 8, order = { 0 }, axis = "k" },
    },
    scale = { format = "f32", group_n = 128, group_k = 128 },
    input = { format = "bf16" },
    io = "bf16",
    align_elems = 16,
    tolerance = { element_rel = 2 ^ -6, element_rms = 0.05, row_norm = 0.02, why = "a sample, not measured" },
}
