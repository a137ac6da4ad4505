package kernel

import "unsafe"

// generic is the kernels in Go.
var generic = &set{
	name: "go", rows: 4, columns: 4,
	tiles: []func(k int, a, b, c *float32, ldc, cols, add int){tileGo(1), tileGo(2), tileGo(3), tile4},
}

// tileGo returns the kernel of some rows.
func tileGo(rows int) func(k int, a, b, c *float32, ldc, cols, add int) {
	return func(k int, a, b, c *float32, ldc, cols, add int) {
		as, bs := unsafe.Slice(a, k*rows), unsafe.Slice(b, k*4)
		cs := unsafe.Slice(c, (rows-1)*ldc+cols)
		for i := range rows {
			var s [4]float32
			for p := range k {
				x, y := as[p*rows+i], bs[4*p:4*p+4]
				s[0] += x * y[0]
				s[1] += x * y[1]
				s[2] += x * y[2]
				s[3] += x * y[3]
			}
			store(cs[i*ldc:i*ldc+cols], &s, add)
		}
	}
}

// tile4 is the kernel of four rows: two at a time, so that the sums stay in
// sixteen registers.
func tile4(k int, a, b, c *float32, ldc, cols, add int) {
	as, bs := unsafe.Slice(a, k*4), unsafe.Slice(b, k*4)
	cs := unsafe.Slice(c, 3*ldc+cols)
	for i := 0; i < 4; i += 2 {
		var s00, s01, s02, s03, s10, s11, s12, s13 float32
		for p := 0; p+4 <= len(as) && p+4 <= len(bs); p += 4 {
			x0, x1 := as[p+i], as[p+i+1]
			y := bs[p : p+4 : p+4]
			s00 += x0 * y[0]
			s01 += x0 * y[1]
			s02 += x0 * y[2]
			s03 += x0 * y[3]
			s10 += x1 * y[0]
			s11 += x1 * y[1]
			s12 += x1 * y[2]
			s13 += x1 * y[3]
		}
		store(cs[i*ldc:i*ldc+cols], &[4]float32{s00, s01, s02, s03}, add)
		store(cs[(i+1)*ldc:(i+1)*ldc+cols], &[4]float32{s10, s11, s12, s13}, add)
	}
}

// store sets c, or adds to it.
func store(c []float32, s *[4]float32, add int) {
	for j := range c {
		if add != 0 {
			c[j] += s[j&3]
		} else {
			c[j] = s[j&3]
		}
	}
}
