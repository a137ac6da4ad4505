package ising

import (
	"archive/zip"
	"encoding/binary"
	"fmt"
	"io"
)

// WriteNPZ writes the present configurations as numpy.load reads them, whole
// or not at all: "spins", int8 of shape [temperatures, replicas, L, L],
// "temperatures", and of the model "coupling", "field" and "neighbours" of a
// site (4 square, 6 triangular, 3 honeycomb), all float64. It streams, so a large lattice needs no second one.
func (s *Simulation) WriteNPZ(path string) error {
	return writeWhole(path, func(f io.Writer) error {
		archive := zip.NewWriter(f)
		if err := s.writeArrays(archive); err != nil {
			return err
		}
		return archive.Close()
	})
}

func (s *Simulation) writeArrays(archive *zip.Writer) error {
	c := s.Config
	for _, array := range []struct {
		name   string
		values []float64
	}{
		{"temperatures", c.Temperatures}, {"coupling", []float64{c.Model.Coupling}}, {"field", []float64{c.Model.Field}},
		{"neighbours", []float64{float64(c.Model.degree())}},
	} {
		w, err := archive.Create(array.name + ".npy")
		if err != nil {
			return err
		}
		if err := writeHeader(w, "<f8", len(array.values)); err != nil {
			return err
		}
		if err := binary.Write(w, binary.LittleEndian, array.values); err != nil {
			return err
		}
	}
	w, err := archive.Create("spins.npy")
	if err != nil {
		return err
	}
	if err := writeHeader(w, "|i1", len(c.Temperatures), c.Replicas, c.Model.Size, c.Model.Size); err != nil {
		return err
	}
	row := make([]byte, c.Model.Size)
	for _, ch := range s.chains { // by temperature, then by replica
		for replica := range ch.replicas {
			for y := range c.Model.Size {
				for x := range row {
					row[x] = byte(ch.lattice.spin(x, y, replica))
				}
				if _, err := w.Write(row); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// writeHeader writes the header of a version 1 npy file.
func writeHeader(w io.Writer, descr string, shape ...int) error {
	text := "("
	for _, n := range shape {
		text += fmt.Sprintf("%d, ", n)
	}
	head := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': %s), }", descr, text)
	const fixed = 10
	padded := (fixed + len(head) + 1 + 63) / 64 * 64
	_, err := fmt.Fprintf(w, "\x93NUMPY\x01\x00%c%c%-*s\n", (padded-fixed)&255, (padded-fixed)>>8, padded-fixed-1, head)
	return err
}

// Spins returns the present configuration of a replica at a temperature, row
// by row, +1 or −1; both count from 0.
func (s *Simulation) Spins(point, replica int) ([]int8, error) {
	if point < 0 || point >= len(s.Config.Temperatures) || replica < 0 || replica >= s.Config.Replicas {
		return nil, fmt.Errorf("no configuration of temperature %d, replica %d", point, replica)
	}
	for _, ch := range s.at(point) {
		if replica >= ch.replicas {
			replica -= ch.replicas
			continue
		}
		size := s.Config.Model.Size
		out := make([]int8, size*size)
		for i := range out {
			out[i] = ch.lattice.spin(i%size, i/size, replica)
		}
		return out, nil
	}
	return nil, fmt.Errorf("no configuration of temperature %d, replica %d", point, replica)
}
