package web

import (
	"encoding/csv"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/kelvin-ml/kelvin/run"
)

const (
	maxExports = 4 // at one time
	atOnce     = 1 << 15
	writeTime  = time.Minute // for a client to take what is written at once
)

// csv writes every value of a series, step by step, and holds no more than a
// stretch of it.
func (s *Server) csv(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	id, layer, name := q.Get("run"), q.Get("layer"), q.Get("name")
	leave, err := s.exports.enter(r.Context())
	if err != nil {
		refuse(w, err)
		return
	}
	defer leave()
	begun := false
	err = s.open(id, func(v *view, _ runItem, _ string) error {
		if !v.has(layer, name) {
			return fmt.Errorf("%q of layer %q: %w", name, layer, errNoSeries)
		}
		w.Header().Set("Content-Type", "text/csv; charset=utf-8")
		w.Header().Set("Content-Disposition", `attachment; filename="kelvin.csv"`)
		out := csv.NewWriter(w)
		out.Write([]string{"step (count)", title(name)})
		begun = true
		control := http.NewResponseController(w)
		defer control.SetWriteDeadline(time.Time{}) // the connection may serve other requests
		return v.stretches(v.source(layer, name), math.MinInt64, math.MaxInt64, 1, func(from, to int64) error {
			control.SetWriteDeadline(time.Now().Add(writeTime))
			buckets, err := v.fine(layer, name, from, to, math.MaxInt32)
			for _, b := range buckets {
				out.Write([]string{strconv.FormatInt(b.First, 10), strconv.FormatFloat(b.Mean, 'g', -1, 64)})
			}
			if out.Flush(); err == nil {
				err = out.Error()
			}
			return err
		})
	})
	switch {
	case r.Context().Err() != nil: // nobody is there
	case err != nil && begun:
		panic(http.ErrAbortHandler) // the file must not look whole
	case err != nil:
		refuse(w, err)
	}
}

// source returns a series that is recorded wherever a quantity is known.
func (v *view) source(layer, name string) run.Series {
	switch {
	case name == "temperature":
		for _, l := range v.layers {
			if virial := v.virial(l); virial != "" && (l == layer || layer == "") {
				return run.Series{Layer: l, Name: virial}
			}
		}
	case name == "efficiency":
		name = "energy_in"
	case name == "overshoot":
		name = "centred_update"
	}
	return run.Series{Layer: layer, Name: name}
}

// stretches calls f with stretches of steps, in order, of at most atOnce records of
// a series each, and so short that each of them can have a bucket of its own.
func (v *view) stretches(s run.Series, from, to int64, n int, f func(from, to int64) error) error {
	buckets, err := v.Index.Buckets(s.Layer, s.Name, from, to, n)
	if err != nil {
		return err
	}
	for _, b := range buckets {
		if b.First < b.Last && b.Points+b.NotFinite > atOnce || uint64(b.Last-b.First) >= math.MaxInt32 {
			err = v.stretches(s, b.First, b.Last, 64, f)
		} else {
			err = f(b.First, b.Last)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
