package ising

// vertical counts bits lane by lane: plane k holds binary digit k of 64
// counters. Carries wait in pairs, so that adding costs one full adder an
// input on average.
type vertical struct {
	sum, wait [40]uint64
	waiting   [40]bool
}

// adder returns the sum and the carry of three bits, lane by lane.
func adder(a, b, c uint64) (sum, carry uint64) {
	x := a ^ b
	return x ^ c, a&b | x&c
}

// push adds x 2^level.
func (v *vertical) push(level int, x uint64) {
	for v.waiting[level] {
		v.waiting[level] = false
		v.sum[level], x = adder(v.sum[level], v.wait[level], x)
		level++
	}
	v.wait[level], v.waiting[level] = x, true
}

// counts adds the waiting carries and writes the 64 counters.
func (v *vertical) counts(out *[64]int64) {
	for k := range len(v.sum) - 1 {
		if v.waiting[k] {
			v.waiting[k] = false
			var carry uint64
			v.sum[k], carry = adder(v.sum[k], v.wait[k], 0)
			v.push(k+1, carry)
		}
	}
	*out = [64]int64{}
	for k, plane := range v.sum {
		if plane == 0 {
			continue
		}
		for lane := range out {
			out[lane] += int64(plane>>lane&1) << k
		}
	}
}

// tallyLanes is tally for the layout with a replica in each bit.
func (p *packed) tallyLanes(to sums) {
	sites := int64(p.size) * int64(p.size)
	var counters [64]int64
	for group := 0; group*64 < p.replicas; group++ {
		var up, even, unsatisfied vertical
		var job rowJob
		for y := range p.size {
			p.aim(&job, 0, y)
			for k := range p.half {
				i := k*lanes + group
				s := *word(job.dst, i)
				a, b, c, d := job.neighbours(i)
				s1, c1 := adder(unsatisfied.sum[0], s^a, s^b)
				s2, c2 := adder(s1, s^c, s^d)
				s3, c3 := adder(unsatisfied.sum[1], c1, c2)
				unsatisfied.sum[0], unsatisfied.sum[1] = s2, s3
				unsatisfied.push(2, c3)
				m, carry := adder(up.sum[0], s, c)
				up.sum[0] = m
				up.push(1, carry)
				if to.staggered != nil {
					even.push(0, s)
				}
			}
		}
		last := min(64, p.replicas-group*64)
		up.counts(&counters)
		for l, n := range counters[:last] {
			to.magnetisation[group*64+l] = 2*n - sites
		}
		unsatisfied.counts(&counters)
		for l, n := range counters[:last] {
			to.bonds[group*64+l] = 2*n - 2*sites
		}
		if to.staggered == nil {
			continue
		}
		even.counts(&counters)
		for l, n := range counters[:last] {
			r := group*64 + l
			to.staggered[r] = 2*(2*n-sites/2) - to.magnetisation[r]
		}
	}
}
