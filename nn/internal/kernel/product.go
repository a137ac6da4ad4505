package kernel

// A set is the kernels for one instruction set. A tile is a block of C of at
// most rows × columns elements, held in registers while the sum over k is taken.
type set struct {
	name          string
	rows, columns int
	// tiles has at index r−1 the kernel of r rows. It computes columns cols of
	// C from k terms of the packed panels a (k × r) and b (k × columns), and adds
	// it to C where add is 1.
	tiles []func(k int, a, b, c *float32, ldc, cols, add int)
	// The steps of packing, of 8 rows or columns or, copyAll, of all columns of a
	// panel: nil where Go does it.
	transpose8, copy8, copyAll func(dst *float32, dstStride int, src *float32, srcStride, n int)
	vectors                    bool // there is assembly for loops over vectors
}

// Sizes of the blocks that are packed: a panel of B and one of A together fit in
// the first-level cache (48 KiB), the blocks of A and B in the second (2 MiB).
const (
	blockK = 256
	blockM = 224
	blockN = 1024
)

// A workspace holds a packed block of each A and B.
type workspace struct{ a, b []float32 }

// spare keeps workspaces that are not in use.
var spare = make(chan *workspace, 64)

func borrow() *workspace {
	select {
	case w := <-spare:
		return w
	default:
		return &workspace{make([]float32, blockM*blockK), make([]float32, blockN*blockK)}
	}
}

func (w *workspace) giveBack() {
	select {
	case spare <- w:
	default:
	}
}

// A view is a matrix with element (i, j) at i·row + j·column; one of the two is 1.
type view struct {
	data        []float32
	row, column int
}

func (v view) from(i, j int) []float32 { return v.data[i*v.row+j*v.column:] }

// A product is one C = α·A·B + β·C.
type product struct {
	set         *set
	m, n, k     int
	alpha, beta float32
	a, b        view
	c           []float32
	ldc         int
	parts       int // in which it is divided between threads
}

// Products of at most directWork multiplications are done without packing; of at
// least parallelWork, in several threads. Both were measured.
const (
	directWork   = 1 << 6
	parallelWork = 1 << 19
)

func (g *product) compute() {
	work := float64(g.m) * float64(g.n) * float64(g.k)
	switch {
	case work <= directWork, g.m == 1, g.n == 1 && g.a.column == 1:
		g.direct()
	case work < parallelWork || !parallel(g):
		g.block(0, g.m, 0, g.n)
	}
}

// direct computes the product row by row.
func (g *product) direct() {
	for i := range g.m {
		c := g.c[i*g.ldc : i*g.ldc+g.n]
		if g.b.column == 1 && g.n > 1 {
			scaleMatrix(1, g.n, g.beta, c, g.n)
			for p := range g.k {
				axpy32(g.set, g.alpha*g.a.data[i*g.a.row+p*g.a.column], g.b.from(p, 0)[:g.n], c)
			}
			continue
		}
		for j := range c {
			sum := g.alpha * g.inner(i, j)
			if g.beta != 0 {
				sum += g.beta * c[j]
			}
			c[j] = sum
		}
	}
}

// inner returns row i of A times column j of B.
func (g *product) inner(i, j int) float32 {
	a, b := g.a.from(i, 0), g.b.from(0, j)
	if g.a.column == 1 && g.b.row == 1 {
		return float32(dot32(g.set, a[:g.k], b[:g.k]))
	}
	sum := float32(0)
	for p := range g.k {
		sum += a[p*g.a.column] * b[p*g.b.row]
	}
	return sum
}

// part computes one of g.parts parts: columns or rows, whichever are more, so
// that the operand that all parts pack is the smaller.
func (g *product) part(i int) {
	if g.n >= g.m {
		g.block(0, g.m, share(g.n, g.set.columns, i, g.parts), share(g.n, g.set.columns, i+1, g.parts))
	} else {
		g.block(share(g.m, g.set.rows, i, g.parts), share(g.m, g.set.rows, i+1, g.parts), 0, g.n)
	}
}

// share returns where part i of parts of n elements begins, a multiple of tile.
func share(n, tile, i, parts int) int {
	tiles := (n + tile - 1) / tile
	return min(tiles*i/parts*tile, n)
}

// even returns the size of the blocks when n is divided in as few as blocks of
// at most most allow, all about as large, and a multiple of tile.
func even(n, most, tile int) int {
	blocks := (n + most - 1) / most
	size := (n + blocks - 1) / blocks
	return (size + tile - 1) / tile * tile
}

// block computes rows i0 to i1 and columns j0 to j1 of C.
func (g *product) block(i0, i1, j0, j1 int) {
	if i0 >= i1 || j0 >= j1 {
		return
	}
	if g.beta != 0 && g.beta != 1 {
		scaleMatrix(i1-i0, j1-j0, g.beta, g.c[i0*g.ldc+j0:], g.ldc)
	}
	w := borrow()
	defer w.giveBack()
	s := g.set
	kc := even(g.k, blockK, 1)
	mc := even(i1-i0, blockM/s.rows*s.rows, s.rows)
	nc := even(j1-j0, blockN, s.columns)
	for j := j0; j < j1; j += nc {
		columns := min(nc, j1-j)
		for p := 0; p < g.k; p += kc {
			terms := min(kc, g.k-p)
			add := 0
			if p > 0 || g.beta != 0 {
				add = 1
			}
			for at := 0; at < columns; at += s.columns {
				s.pack(w.b[at*terms:], s.columns, min(s.columns, columns-at), g.b.from(p, j+at), g.b.column, g.b.row, terms)
			}
			for i := i0; i < i1; i += mc {
				rows := min(mc, i1-i)
				for at := 0; at < rows; at += s.rows {
					height := min(s.rows, rows-at)
					s.pack(w.a[at*terms:], height, height, g.a.from(i+at, p), g.a.row, g.a.column, terms)
				}
				if g.alpha != 1 {
					scaleMatrix(1, rows*terms, g.alpha, w.a, rows*terms)
				}
				s.multiply(w, rows, columns, terms, g.c[i*g.ldc+j:], g.ldc, add)
			}
		}
	}
}

// multiply computes a block of C from the packed blocks.
func (s *set) multiply(w *workspace, rows, columns, terms int, c []float32, ldc, add int) {
	for j := 0; j < columns; j += s.columns {
		b, width := &w.b[j*terms], min(s.columns, columns-j)
		for i := 0; i < rows; i += s.rows {
			height := min(s.rows, rows-i)
			s.tiles[height-1](terms, &w.a[i*terms], b, &c[i*ldc+j], ldc, width, add)
		}
	}
}

// pack copies the first lanes rows or columns of a matrix to a panel, term by
// term: dst[p·width + l] = src[l·lane + p·term]. What is in the lanes beyond does
// not matter: tiles do not write those columns. One of lane and term is 1.
func (s *set) pack(dst []float32, width, lanes int, src []float32, lane, term, terms int) {
	if lanes == 6 && width == 6 && terms >= 8 && 7*lane+(terms-1)*term < len(src) && terms*width+2 <= cap(dst) {
		lanes = 8 // what two lanes too many leave is overwritten by the next term, and by the next panel
	}
	dst = dst[:terms*width]
	_ = src[(lanes-1)*lane+(terms-1)*term]
	done := 0
	switch {
	case lanes == 6 && width == 6:
		packSix(dst, src, lane, term, terms)
		return
	case lanes < 8 || s.copy8 == nil: // all in Go, below
	case term == 1:
		if terms < 8 {
			break
		}
		for l := 0; l < lanes; l += 8 {
			l := min(l, lanes-8) // the last eight may overlap
			s.transpose8(&dst[l], width, &src[l*lane], lane, terms&^7)
			if last := terms - 8; terms&7 > 0 {
				s.transpose8(&dst[last*width+l], width, &src[l*lane+last], lane, 8)
			}
		}
		return
	case lanes == s.columns:
		s.copyAll(&dst[0], width, &src[0], term, terms)
		return
	default:
		const rows = 32 // stay in the first-level cache
		for ; done < terms; done += rows {
			for l := 0; l < lanes; l += 8 {
				l := min(l, lanes-8)
				s.copy8(&dst[done*width+l], width, &src[done*term+l], term, min(rows, terms-done))
			}
		}
		return
	}
	for l := range lanes {
		for p := done; p < terms; p++ {
			dst[p*width+l] = src[l*lane+p*term]
		}
	}
}

// packSix is pack for the panels of A that AVX2 takes where eight lanes are not
// to be had. What the loops read and write is bounded in advance.
func packSix(dst, src []float32, lane, term, terms int) {
	if term == 1 {
		a, b, c := src[:terms], src[lane:][:terms], src[2*lane:][:terms]
		d, e, f := src[3*lane:][:terms], src[4*lane:][:terms], src[5*lane:][:terms]
		for p := range a {
			o := (*[6]float32)(dst)
			o[0], o[1], o[2], o[3], o[4], o[5] = a[p], b[p], c[p], d[p], e[p], f[p]
			dst = dst[6:]
		}
		return
	}
	for p := range terms {
		i, o := (*[6]float32)(src[p*term:]), (*[6]float32)(dst)
		o[0], o[1], o[2], o[3], o[4], o[5] = i[0], i[1], i[2], i[3], i[4], i[5]
		dst = dst[6:]
	}
}
