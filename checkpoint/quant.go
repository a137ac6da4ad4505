package checkpoint

import "encoding/binary"

// GGML's block formats. Each decodes to the float32 values that GGML itself
// computes, rounding every product, and only then converts to T.

// decodeQ8_0 decodes blocks of 32: a half-precision scale, then 32 int8.
func decodeQ8_0[T float](dst []T, src []byte) {
	for ; len(dst) > 0; dst, src = dst[32:], src[34:] {
		d := half(src)
		for i, q := range src[2:34] {
			dst[i] = T(d * float32(int8(q)))
		}
	}
}

// decodeQ4_0 decodes blocks of 32: a half-precision scale, then 16 bytes whose
// low nibbles are the first half of the block and whose high nibbles the second.
func decodeQ4_0[T float](dst []T, src []byte) {
	for ; len(dst) > 0; dst, src = dst[32:], src[18:] {
		d := half(src)
		for i, q := range src[2:18] {
			dst[i] = T(d * float32(int(q&15)-8))
			dst[i+16] = T(d * float32(int(q>>4)-8))
		}
	}
}

// decodeQ4_K decodes blocks of 256: half-precision d and dmin, eight 6-bit
// scales and eight 6-bit minima packed in 12 bytes, then 128 bytes of nibbles.
// Sub-block j of 32 has values d·scale_j·q − dmin·min_j.
func decodeQ4_K[T float](dst []T, src []byte) {
	for ; len(dst) > 0; dst, src = dst[256:], src[144:] {
		d, dmin := half(src), half(src[2:])
		packed, nibbles := src[4:16], src[16:144]
		for j := range 8 {
			scale, minimum := sixBits(packed, j)
			a, b := d*float32(scale), dmin*float32(minimum)
			shift := 4 * (j & 1)
			out := dst[32*j : 32*j+32]
			for i, q := range nibbles[32*(j/2) : 32*(j/2)+32] {
				product := a * float32(q>>shift&15)
				out[i] = T(product - b)
			}
		}
	}
}

// sixBits unpacks the j-th of eight scales and minima from 12 bytes: 0-3 lie
// in the low 6 bits of bytes 0-3 and 4-7, the others have their low 4 bits in
// bytes 8-11 and their high 2 bits above the first ones.
func sixBits(p []byte, j int) (scale, minimum byte) {
	if j < 4 {
		return p[j] & 63, p[j+4] & 63
	}
	return p[j+4]&15 | p[j-4]>>6<<4, p[j+4]>>4 | p[j]>>6<<4
}

// decodeQ6_K decodes blocks of 256: 128 bytes of low nibbles, 64 bytes of high
// bit pairs, 16 int8 scales of 16 values each, and a half-precision d. Each
// half of 128 values interleaves four runs of 32.
func decodeQ6_K[T float](dst []T, src []byte) {
	for ; len(dst) > 0; dst, src = dst[256:], src[210:] {
		scales, d := src[192:208], half(src[208:])
		for h := range 2 {
			low, high := src[64*h:64*h+64], src[128+32*h:160+32*h]
			for k := range 8 { // 16 values of one scale
				run, from := k/2, 16*(k&1)
				scale := d * float32(int8(scales[8*h+k]))
				nibbles, pairs := low[32*(run&1)+from:][:16], high[from:][:16]
				out := dst[128*h+16*k:][:16]
				shift, pair := 4*(run/2), 2*run
				for i, q := range nibbles {
					out[i] = T(scale * float32(int(q>>shift&15|pairs[i]>>pair&3<<4)-32))
				}
			}
		}
	}
}

func half(src []byte) float32 { return halfToFloat(binary.LittleEndian.Uint16(src)) }
