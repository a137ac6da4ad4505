package cooling

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// convex raises the bound of a box, and narrows it, where Φ(I) = wᵀT(I) + price·P(I) is
// nearly convex. At I° = s.currents, with d = I − I°, the adjoint λ and the response S
// of the ports to each other, Φ is exactly
//
//	Φ(I°) + gᵀd + ½dᵀQd,
//	Q_kl = δ_kl R(λ_c + λ_h) − 2α_k [m_l (A + B)_kl − αT_c A_kl + αT_h B_kl]
//	A_kl = λ_c S_ck,cl − λ_h S_hk,cl,  B_kl = λ_c S_ck,hl − λ_h S_hk,hl
//
// (price added to λ in all of these), where m_l = ½R(I + I°) and T_c, T_h of tile l are
// those of I: all of Q that is not known, and known within intervals. What they
// leave open is taken from the diagonal (|d|ᵀE|d| ≤ Σ d²(Es)/s for any s > 0), what is
// then still not convex is replaced by its chord over the box (Androulakis, Maranas
// and Floudas, Journal of Global Optimization 7, 337, 1995), and the minimum of the
// convex quadratic over the box is a bound. It also says how far currents may be
// from that minimum when the peak is at most target.
func (o *optimiser) convex(b *box, s *state, lambda []float64, response *mat.SymDense, low, high []float64, phi, target float64) {
	m := len(o.Tiles)
	q := o.curvature(b, s, lambda, response, low, high)
	from, to, slope := make([]float64, m), make([]float64, m), make([]float64, m)
	for k, t := range o.Tiles {
		i := s.currents[k]
		c, h := lambda[2*k]+o.price, lambda[2*k+1]+o.price
		slope[k] = t.Resistance*i*(c+h) - t.Seebeck*(c*s.at[2*k]-h*s.at[2*k+1])
		from[k], to[k] = b.low[k]-i, b.high[k]-i
		if from[k] > to[k] {
			return
		}
	}
	factor, lift, worst := positive(q)
	if factor == nil {
		return
	}
	if worst >= 0 {
		b.widest = worst
	}
	chord := 0.0
	for k, l := range lift { // −½l d² is above its chord
		slope[k] -= l / 2 * (from[k] + to[k])
		chord += l / 2 * from[k] * to[k]
	}
	d, least := lowest(q, slope, from, to)
	b.bound = max(b.bound, phi+chord+least)
	slack := target - phi - chord - least
	if slack <= 0 {
		return
	}
	var inverse mat.SymDense
	if factor.InverseTo(&inverse) != nil {
		return
	}
	for k, i := range s.currents {
		far := math.Sqrt(2 * slack * inverse.At(k, k))
		b.low[k], b.high[k] = max(b.low[k], i+d[k]-far), min(b.high[k], i+d[k]+far)
	}
}

// curvature returns Q in the middle of its intervals, less what they leave open.
func (o *optimiser) curvature(b *box, s *state, lambda []float64, response *mat.SymDense, low, high []float64) *mat.SymDense {
	m := len(o.Tiles)
	middle, open := mat.NewDense(m, m, nil), mat.NewDense(m, m, nil)
	for k, t := range o.Tiles {
		c, h := lambda[2*k]+o.price, lambda[2*k+1]+o.price
		for l, u := range o.Tiles {
			x, y := c*response.At(2*k, 2*l)-h*response.At(2*k+1, 2*l), c*response.At(2*k, 2*l+1)-h*response.At(2*k+1, 2*l+1)
			joule := u.Resistance / 2 * ((b.low[l]+b.high[l])/2 + s.currents[l])
			middle.Set(k, l, -2*t.Seebeck*(joule*(x+y)-u.Seebeck/2*((low[2*l]+high[2*l])*x-(low[2*l+1]+high[2*l+1])*y)))
			open.Set(k, l, 2*t.Seebeck*(u.Resistance/4*(b.high[l]-b.low[l])*math.Abs(x+y)+
				u.Seebeck/2*((high[2*l]-low[2*l])*math.Abs(x)+(high[2*l+1]-low[2*l+1])*math.Abs(y))))
		}
		middle.Set(k, k, middle.At(k, k)+t.Resistance*(c+h))
	}
	q := mat.NewSymDense(m, nil)
	scale := make([]float64, m)
	for k := range m {
		scale[k] = 1 / math.Sqrt(math.Max(middle.At(k, k), 1e-12))
		for l := range k + 1 {
			q.SetSym(k, l, (middle.At(k, l)+middle.At(l, k))/2)
		}
	}
	for k := range m {
		sum := 0.0
		for l := range m {
			sum += (open.At(k, l) + open.At(l, k)) / 2 * scale[l]
		}
		q.SetSym(k, k, q.At(k, k)-sum/scale[k])
	}
	return q
}

// positive lifts the diagonal of q by as little as makes it positive definite, and
// returns its factorisation, the lift, and the element that needs it most; -1 if
// none does.
func positive(q *mat.SymDense) (c *mat.Cholesky, lift []float64, worst int) {
	m := q.SymmetricDim()
	c, lift = &mat.Cholesky{}, make([]float64, m)
	if c.Factorize(q) {
		return c, lift, -1
	}
	scaled := mat.NewSymDense(m, nil)
	scale := make([]float64, m)
	for k := range m {
		scale[k] = math.Max(math.Abs(q.At(k, k)), 1e-12)
		for l := range k + 1 {
			scaled.SetSym(k, l, q.At(k, l)/math.Sqrt(scale[k]*scale[l]))
		}
	}
	var e mat.EigenSym
	if !e.Factorize(scaled, true) {
		return nil, nil, 0
	}
	var vectors mat.Dense
	e.VectorsTo(&vectors)
	least := e.Values(nil)[0]
	for k := range m {
		if math.Abs(vectors.At(k, 0)) > math.Abs(vectors.At(worst, 0)) {
			worst = k
		}
		lift[k] = (1e-6 - 1.001*least) * scale[k]
		q.SetSym(k, k, q.At(k, k)+lift[k])
	}
	if !c.Factorize(q) {
		return nil, nil, 0
	}
	return c, lift, worst
}

// lowest minimises slopeᵀd + ½dᵀQd for d in a box, by coordinates, and returns a
// bound of the minimum that holds wherever it has come to.
func lowest(q *mat.SymDense, slope, from, to []float64) (d []float64, least float64) {
	const sweeps = 200
	m := len(slope)
	d = make([]float64, m)
	gradient := slices.Clone(slope)
	for range sweeps {
		moved := 0.0
		for k := range d {
			step := math.Min(math.Max(d[k]-gradient[k]/q.At(k, k), from[k]), to[k]) - d[k]
			if step == 0 {
				continue
			}
			moved += math.Abs(step * gradient[k])
			d[k] += step
			for l := range gradient {
				gradient[l] += step * q.At(k, l)
			}
		}
		if moved < 1e-6 {
			break
		}
	}
	for k, x := range d { // f(d) and the least that its tangent is below it
		least += x*(slope[k]+gradient[k])/2 + math.Min(gradient[k]*(from[k]-x), gradient[k]*(to[k]-x))
	}
	return d, least
}
