package checkpoint

import (
	"encoding/binary"
	"math"
)

// float is what tensors are decoded to.
type float interface{ float32 | float64 }

// A layout says how elements are packed: units of count elements in bytes bytes.
type layout struct{ count, bytes int }

// size returns the number of bytes of n elements, n a multiple of the unit.
func (l layout) size(n int) int { return n / l.count * l.bytes }

// layoutOf returns how a dtype is packed.
func layoutOf(dtype string) layout {
	if l, plain := layouts[dtype]; plain {
		return l
	}
	return blockLayouts[dtype]
}

// layouts has the dtypes of safetensors, NumPy and PyTorch.
var layouts = map[string]layout{
	"F64": {1, 8}, "F32": {1, 4}, "F16": {1, 2}, "BF16": {1, 2},
	"I64": {1, 8}, "I32": {1, 4}, "I16": {1, 2}, "I8": {1, 1},
	"U64": {1, 8}, "U32": {1, 4}, "U16": {1, 2}, "U8": {1, 1},
	"BOOL": {1, 1}, "C64": {1, 8}, "C128": {1, 16},
	"F8_E4M3": {1, 1}, "F8_E5M2": {1, 1}, "F8_E8M0": {1, 1},
	"F6_E2M3": {4, 3}, "F6_E3M2": {4, 3}, "F4": {2, 1},
}

// blockLayouts has the quantised dtypes of GGUF.
var blockLayouts = map[string]layout{
	"Q4_0": {32, 18}, "Q4_1": {32, 20}, "Q5_0": {32, 22}, "Q5_1": {32, 24}, "Q8_0": {32, 34}, "Q8_1": {32, 40},
	"Q2_K": {256, 84}, "Q3_K": {256, 110}, "Q4_K": {256, 144}, "Q5_K": {256, 176}, "Q6_K": {256, 210}, "Q8_K": {256, 292},
	"IQ2_XXS": {256, 66}, "IQ2_XS": {256, 74}, "IQ3_XXS": {256, 98}, "IQ1_S": {256, 50}, "IQ4_NL": {32, 18},
	"IQ3_S": {256, 110}, "IQ2_S": {256, 82}, "IQ4_XS": {256, 136}, "IQ1_M": {256, 56},
	"TQ1_0": {256, 54}, "TQ2_0": {256, 66}, "MXFP4": {32, 17}, "NVFP4": {64, 36}, "Q1_0": {128, 18},
}

// readableDTypes names the dtypes decoderFor knows, for messages.
const readableDTypes = "F64, F32, F16, BF16, Q8_0, Q4_0, Q4_K, Q6_K"

// decoderFor returns the function that decodes len(dst) elements of dtype,
// little-endian whatever the host, or nil if the dtype is not floating point.
func decoderFor[T float](dtype string) func(dst []T, src []byte) {
	switch dtype {
	case "F64":
		return decodeF64[T]
	case "F32":
		return decodeF32[T]
	case "F16":
		return decodeF16[T]
	case "BF16":
		return decodeBF16[T]
	case "Q8_0":
		return decodeQ8_0[T]
	case "Q4_0":
		return decodeQ4_0[T]
	case "Q4_K":
		return decodeQ4_K[T]
	case "Q6_K":
		return decodeQ6_K[T]
	}
	return nil
}

func decodeF64[T float](dst []T, src []byte) {
	src = src[:8*len(dst)]
	for i := range dst {
		dst[i] = T(math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:])))
	}
}

func decodeF32[T float](dst []T, src []byte) {
	src = src[:4*len(dst)]
	for i := range dst {
		dst[i] = T(math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:])))
	}
}

func decodeF16[T float](dst []T, src []byte) {
	src = src[:2*len(dst)]
	for i := range dst {
		dst[i] = T(halfToFloat(binary.LittleEndian.Uint16(src[2*i:])))
	}
}

func decodeBF16[T float](dst []T, src []byte) {
	src = src[:2*len(dst)]
	for i := range dst {
		dst[i] = T(math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16))
	}
}

// halfToFloat converts an IEEE binary16. Subnormal ones are taken apart as
// integers, because processors are slow at subnormal float32.
func halfToFloat(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	bits := uint32(h&0x7fff) << 13
	switch h & 0x7c00 {
	case 0:
		return math.Float32frombits(sign | math.Float32bits(float32(h&0x3ff)*0x1p-24))
	case 0x7c00:
		return math.Float32frombits(sign | bits | 0x7f800000)
	}
	return math.Float32frombits(sign | (bits + (127-15)<<23))
}
