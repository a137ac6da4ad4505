package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// Moments describe the distribution of a tensor's elements.
type Moments struct {
	N        int
	Mean     float64
	Variance float64 // about the mean, divided by N
	RMS      float64
	Min, Max float64
	// Entropy is the differential entropy of the distribution, in nats: that
	// of a histogram, in which values closer than a 64th of the RMS are not
	// told apart, with the Miller-Madow correction. Of tensors of more than two
	// million elements it takes blocks at even distances, at least one million
	// elements, which adds a sampling error of about 0.001. It is -Inf where
	// all elements are zero.
	Entropy float64
}

// Moments reads all elements once, on all cores, in constant memory. A tensor
// without elements, or with one that is NaN or infinite, is an error.
func (t Tensor) Moments(ctx context.Context) (Moments, error) {
	n := t.Len()
	if n == 0 {
		return Moments{}, t.errorf("there are no elements to take moments of")
	}
	if t.DType == "F64" {
		return moments[float64](ctx, t, n)
	}
	return moments[float32](ctx, t, n)
}

func moments[T float](ctx context.Context, t Tensor, n int) (Moments, error) {
	head := make([]T, min(n, blockLen))
	c, err := newCursor[T](t)
	if err != nil {
		return Moments{}, err
	}
	defer c.close()
	if err := c.next(head); err != nil {
		return Moments{}, err
	}
	parts := t.split(runtime.GOMAXPROCS(0))
	sums := make([]sums, len(parts))
	group, ctx := errgroup.WithContext(ctx)
	for i, part := range parts {
		s := &sums[i]
		*s = newSums(float64(head[0]), max(1, n>>20))
		group.Go(func() error { return addTensor[T](ctx, s, part) })
	}
	if err := group.Wait(); err != nil {
		return Moments{}, err
	}
	for i := range sums[1:] {
		sums[0].merge(&sums[1+i])
	}
	m, err := sums[0].moments(n)
	if err != nil {
		return m, t.errorf("%w", err)
	}
	return m, nil
}

// split cuts a tensor into at most k pieces that can be read at once, each a
// whole number of blocks. Only what lies in the file as it is can be cut.
func (t Tensor) split(k int) []Tensor {
	n := t.Len()
	if t.strides != nil || t.inflate != nil || n < 64*blockLen {
		return []Tensor{t}
	}
	l := layoutOf(t.DType)
	each := (n/k + blockLen) / blockLen * blockLen
	var parts []Tensor
	for begin := 0; begin < n; begin += each {
		end := min(begin+each, n)
		p := t
		p.Shape = []int{end - begin}
		p.data = t.data[l.size(begin):l.size(end)]
		parts = append(parts, p)
	}
	return parts
}

// addTensor adds the elements of t to s, where they lie if this machine has a
// kernel for their dtype.
func addTensor[T float](ctx context.Context, s *sums, t Tensor) error {
	c, err := newCursor[T](t)
	if err != nil {
		return err
	}
	defer c.close()
	kernel := kernelFor(t.DType)
	buf := make([]T, blockLen)
	block := 0
	for left := t.Len(); left > 0; {
		if ctx.Err() != nil {
			return t.errorf("%w", context.Cause(ctx))
		}
		n := min(left, 16*blockLen)
		left -= n
		err := c.view(n, func(src []byte) {
			for len(src) > 0 {
				part := src[:min(len(src), c.layout.size(blockLen))]
				src = src[len(part):]
				buf = buf[:len(part)/c.layout.bytes*c.layout.count]
				counted := block%s.every == 0
				vector := kernel != nil && len(buf) == blockLen
				block++
				if counted || !vector {
					c.decode(buf, part)
				}
				if counted {
					addCounts(s, buf)
				}
				if vector {
					kernel(&part[0], len(buf), s.shift, &s.lanes)
				} else {
					addBlock(s, buf)
				}
			}
		})
		if err != nil {
			return err
		}
	}
	s.fold()
	return nil
}

// lanes are the partial sums of a vector kernel.
type lanes struct {
	s1, s2 [16]float64
	lo, hi [16]float32
}

// fold adds the lanes to the sums.
func (s *sums) fold() {
	for i := range s.lanes.s1 {
		s.s1 += s.lanes.s1[i]
		s.s2 += s.lanes.s2[i]
		s.min = min(s.min, float64(s.lanes.lo[i]))
		s.max = max(s.max, float64(s.lanes.hi[i]))
	}
}

// A histogram bin has the values whose float32 agree in sign, exponent and the
// first binBits bits of the mantissa.
const (
	binBits  = 4
	binShift = 23 - binBits
	bins     = 1 << (32 - binShift)
)

// sums are the running sums behind Moments. Powers are taken about shift, so
// that a large mean cancels nothing.
type sums struct {
	shift    float64
	s1, s2   float64
	min, max float64
	every    int // one block in every is counted
	counts   []uint32
	lanes    lanes
}

func newSums(shift float64, every int) sums {
	s := sums{shift: shift, min: math.Inf(1), max: math.Inf(-1), every: every, counts: make([]uint32, bins)}
	for i := range s.lanes.lo {
		s.lanes.lo[i], s.lanes.hi[i] = float32(math.Inf(1)), float32(math.Inf(-1))
	}
	return s
}

func (s *sums) merge(o *sums) {
	s.s1 += o.s1
	s.s2 += o.s2
	s.min = min(s.min, o.min)
	s.max = max(s.max, o.max)
	for i, c := range o.counts {
		s.counts[i] += c
	}
}

// addBlock adds to the power sums, in four lanes so that additions overlap.
func addBlock[T float](s *sums, xs []T) {
	lo, hi := xs[0], xs[0]
	var a0, a1, a2, a3, b0, b1, b2, b3 float64
	shift := s.shift
	rest := xs
	for ; len(rest) >= 4; rest = rest[4:] {
		x0, x1, x2, x3 := rest[0], rest[1], rest[2], rest[3]
		d0, d1, d2, d3 := float64(x0)-shift, float64(x1)-shift, float64(x2)-shift, float64(x3)-shift
		a0 += d0
		a1 += d1
		a2 += d2
		a3 += d3
		b0 += d0 * d0
		b1 += d1 * d1
		b2 += d2 * d2
		b3 += d3 * d3
		// Rarely taken branches are cheaper than the built-in min and max,
		// which order zeros and NaN.
		if x0 < lo {
			lo = x0
		}
		if x0 > hi {
			hi = x0
		}
		if x1 < lo {
			lo = x1
		}
		if x1 > hi {
			hi = x1
		}
		if x2 < lo {
			lo = x2
		}
		if x2 > hi {
			hi = x2
		}
		if x3 < lo {
			lo = x3
		}
		if x3 > hi {
			hi = x3
		}
	}
	for _, x := range rest {
		d := float64(x) - shift
		a0 += d
		b0 += d * d
		lo, hi = min(lo, x), max(hi, x)
	}
	s.s1 += a0 + a1 + (a2 + a3)
	s.s2 += b0 + b1 + (b2 + b3)
	s.min, s.max = min(s.min, float64(lo)), max(s.max, float64(hi))
}

func addCounts[T float](s *sums, xs []T) {
	counts := (*[bins]uint32)(s.counts)
	for _, x := range xs {
		counts[math.Float32bits(float32(x))>>binShift]++
	}
}

func (s *sums) moments(n int) (Moments, error) {
	d := s.s1 / float64(n)
	variance := max(0, s.s2/float64(n)-d*d)
	mean := s.shift + d
	m := Moments{N: n, Mean: mean, Variance: variance, RMS: math.Sqrt(variance + mean*mean), Min: s.min, Max: s.max}
	if math.IsNaN(s.s2) {
		return m, errors.New("some elements are NaN or infinite")
	}
	if math.IsInf(s.s2, 0) || math.IsInf(m.RMS, 0) {
		return m, fmt.Errorf("some elements are infinite or too large to square (largest %g, smallest %g)", m.Max, m.Min)
	}
	m.Entropy = s.entropy(m.RMS / 64)
	return m, nil
}

// entropy returns the differential entropy of the histogram, after bins
// narrower than resolution are put together. Bins end at the extreme values.
func (s *sums) entropy(resolution float64) float64 {
	var total, plogp, occupied float64
	var count, width float64 // of the bins put together so far
	flush := func() {
		if count > 0 {
			plogp += count * math.Log(count/max(width, resolution))
			occupied++
			total += count
		}
		count, width = 0, 0
	}
	const half = bins / 2 // bins from half on are negative, in descending order
	add := func(bin int) {
		from := math.Float32frombits(uint32(bin) << binShift)
		to := math.Float32frombits(uint32(bin)<<binShift | (1<<binShift - 1))
		low, high := min(float64(from), float64(to)), max(float64(from), float64(to))
		covered := min(high, s.max) - max(low, s.min)
		if covered < 0 {
			return
		}
		count += float64(s.counts[bin])
		width += covered
		if width >= resolution {
			flush()
		}
	}
	const finite = half - 1<<binBits // bins above hold infinities and NaN
	for bin := half + finite - 1; bin >= half; bin-- {
		add(bin)
	}
	for bin := range finite {
		add(bin)
	}
	flush()
	if total == 0 {
		return math.Inf(-1)
	}
	return math.Log(total) - plogp/total + (occupied-1)/(2*total)
}
