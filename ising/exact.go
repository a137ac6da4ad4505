package ising

import "math"

// Tc is the critical temperature of the square lattice, 2/ln(1+√2)
// (docs/theory.md, T9).
const Tc = 2.2691853142130219681

// cold is a temperature below which every spin is aligned to double precision.
const cold = 0.05

// jet is a function of K = 1/T with its first two derivatives.
type jet struct{ f, d, dd float64 }

func (a jet) plus(b jet) jet               { return jet{a.f + b.f, a.d + b.d, a.dd + b.dd} }
func (a jet) scale(c float64) jet          { return jet{c * a.f, c * a.d, c * a.dd} }
func (a jet) compose(f, d, dd float64) jet { return jet{f, d * a.d, dd*a.d*a.d + d*a.dd} }

// logCosh2 and logSinh2 return ln(2cosh x) and ln|2sinh x|.
func (a jet) logCosh2() jet {
	x := math.Abs(a.f)
	t := math.Tanh(a.f)
	return a.compose(x+math.Log1p(math.Exp(-2*x)), t, 1-t*t)
}

func (a jet) logSinh2() jet {
	x := math.Abs(a.f)
	c := 1 / math.Tanh(a.f)
	return a.compose(x+math.Log1p(-math.Exp(-2*x)), c, 1-c*c)
}

// Torus returns the exact energy and specific heat per spin, at J = 1 without a
// field, of the square L×L torus at temperature t (Kaufman 1949; Ferdinand and
// Fisher 1969). Both are NaN for a size or a temperature that is not positive.
func Torus(size int, t float64) (energy, specificHeat float64) {
	if size < 1 || !(t > 0) {
		return math.NaN(), math.NaN()
	}
	if t < cold {
		return -2, 0
	}
	n := float64(size)
	k := 1 / t
	// ln Z = const + (N/2) ln sinh 2K + ln(Σ of four products).
	bulk := jet{2 * k, 2, 0}
	logs := bulk.logSinh2().scale(n * n / 2)
	var z, dz, ddz float64
	products := kaufmanProducts(size, k)
	highest := math.Inf(-1)
	for _, p := range products {
		highest = math.Max(highest, p.log.f+p.scale)
	}
	for _, p := range products {
		w := math.Exp(p.log.f + p.scale - highest)
		l, v := p.log, p.factor
		z += w * v.f
		dz += w * (v.d + v.f*l.d)
		ddz += w * (v.dd + 2*v.d*l.d + v.f*(l.dd+l.d*l.d))
	}
	first, second := dz/z, ddz/z-dz/z*(dz/z)
	energy = -(logs.d + first) / (n * n)
	specificHeat = k * k * (logs.dd + second) / (n * n)
	return energy, specificHeat
}

// product is e^(log + scale) factor, where scale does not depend on K.
type product struct {
	log    jet
	scale  float64
	factor jet
}

// kaufmanProducts returns Π 2cosh(Lγ/2) and Π 2sinh(Lγ/2) over odd and over
// even γ. γ₀ changes sign at the critical point, so its factors stay factors.
func kaufmanProducts(size int, k float64) [4]product {
	n := float64(size)
	s, c := math.Sinh(2*k), math.Cosh(2*k)
	one := jet{f: 1}
	out := [4]product{{factor: one}, {factor: one}, {factor: one}, {factor: one}}
	// cosh 2K coth 2K = s + 1/s
	sinh := jet{s, 2 * c, 4 * s}
	a := sinh.plus(sinh.compose(1/s, -1/(s*s), 2/(s*s*s)))
	for r := 1; r < 2*size; r++ {
		x := a
		x.f -= math.Cos(math.Pi * float64(r) / n)
		root := math.Sqrt((x.f - 1) * (x.f + 1))
		half := x.compose(math.Acosh(x.f), 1/root, -x.f/(root*root*root)).scale(n / 2)
		set := 2 * ((r + 1) % 2) // odd r first
		out[set].log = out[set].log.plus(half.logCosh2())
		out[set+1].log = out[set+1].log.plus(half.logSinh2())
	}
	half := jet{2*k + math.Log(math.Tanh(k)), 2 + 2/s, -4 * c / (s * s)}.scale(n / 2)
	scale := math.Abs(half.f)
	small := math.Exp(-2 * scale)
	cosh, sign := 1+small, math.Copysign(1-small, half.f)
	out[2].scale, out[2].factor = scale, half.compose(cosh, sign, cosh)
	out[3].scale, out[3].factor = scale, half.compose(sign, cosh, sign)
	return out
}

// Plane returns the exact energy per spin of the infinite square lattice at
// J = 1 without a field (Onsager 1944).
func Plane(t float64) float64 {
	if t < cold {
		return -2
	}
	k := 1 / t
	kappa := 2 * math.Sinh(2*k) / (math.Cosh(2*k) * math.Cosh(2*k))
	th := math.Tanh(2 * k)
	edge := 2*th*th - 1
	if math.Abs(edge) < 1e-12 {
		return -math.Sqrt2
	}
	return -1 / th * (1 + 2/math.Pi*edge*completeK(kappa))
}

// completeK is the complete elliptic integral of the first kind of modulus k,
// by the arithmetic-geometric mean.
func completeK(k float64) float64 {
	a, b := 1.0, math.Sqrt((1-k)*(1+k))
	for math.Abs(a-b) > 1e-15*a {
		a, b = (a+b)/2, math.Sqrt(a*b)
	}
	return math.Pi / (2 * a)
}

// Magnetisation returns the exact spontaneous magnetisation per spin of the
// infinite square lattice at J = 1 (Yang 1952); 0 from Tc up.
func Magnetisation(t float64) float64 {
	switch {
	case t >= Tc:
		return 0
	case t < cold:
		return 1
	}
	return math.Pow(1-math.Pow(math.Sinh(2/t), -4), 0.125)
}

// MagnetisationTemperature inverts [Magnetisation]: the temperature below Tc
// where it is m, in (0, 1).
func MagnetisationTemperature(m float64) float64 {
	return 2 / math.Asinh(math.Pow(1-math.Pow(m, 8), -0.25))
}
