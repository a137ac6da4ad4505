package kernel

// Axpy adds alpha·x to y.
func Axpy[T Float](alpha T, x, y []T) {
	if single, ok := any(x).([]float32); ok {
		axpy32(best, float32(alpha), single, any(y).([]float32))
		return
	}
	y = y[:len(x)]
	for i, v := range x {
		y[i] += alpha * v
	}
}

// Dot returns the sum of x·y in float64.
func Dot[T Float](x, y []T) float64 {
	if single, ok := any(x).([]float32); ok {
		return dot32(best, single, any(y).([]float32))
	}
	return dot(x, y)
}

// SumSquares returns the sum of x² in float64.
func SumSquares[T Float](x []T) float64 { return Dot(x, x) }

// ReLU sets a = max(z, 0), and slope to its derivative, 1 where z > 0 and else 0.
// The three have one length.
func ReLU(z, a, slope []float32) {
	a, slope = a[:len(z)], slope[:len(z)]
	n := 0
	if best.vectors && len(z) >= 16 {
		n = len(z) &^ 15
		reluAVX2(&z[0], &a[0], &slope[0], n)
	}
	for i := n; i < len(z); i++ {
		a[i], slope[i] = max(z[i], 0), 0
		if z[i] > 0 {
			slope[i] = 1
		}
	}
}

// Multiply sets z = x·y, element by element. The three have one length.
func Multiply[T Float](x, y, z []T) {
	y, z = y[:len(x)], z[:len(x)]
	n := 0
	if single, ok := any(x).([]float32); ok && best.vectors && len(x) >= 16 {
		n = len(x) &^ 15
		multiplyAVX2(&single[0], &any(y).([]float32)[0], &any(z).([]float32)[0], n)
	}
	for i := n; i < len(x); i++ {
		z[i] = x[i] * y[i]
	}
}

func axpy32(s *set, alpha float32, x, y []float32) {
	y = y[:len(x)]
	n := 0
	if s.vectors && len(x) >= 32 {
		n = len(x) &^ 31
		axpyAVX2(alpha, &x[0], &y[0], n)
	}
	for i := n; i < len(x); i++ {
		y[i] += alpha * x[i]
	}
}

func dot32(s *set, x, y []float32) float64 {
	y = y[:len(x)]
	if s.vectors && len(x) >= 16 {
		n := len(x) &^ 15
		return dotAVX2(&x[0], &y[0], n) + dot(x[n:], y[n:])
	}
	return dot(x, y)
}

// dot takes four sums that do not wait for each other.
func dot[T Float](x, y []T) float64 {
	var a, b, c, d float64
	y = y[:len(x)]
	i := 0
	for ; i+4 <= len(x); i += 4 {
		a += float64(x[i]) * float64(y[i])
		b += float64(x[i+1]) * float64(y[i+1])
		c += float64(x[i+2]) * float64(y[i+2])
		d += float64(x[i+3]) * float64(y[i+3])
	}
	for ; i < len(x); i++ {
		a += float64(x[i]) * float64(y[i])
	}
	return a + b + c + d
}
