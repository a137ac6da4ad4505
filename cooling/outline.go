package cooling

// A Place is a named block of one layer and where it lies.
type Place struct {
	Block
	Layer  int
	Kelvin float64
}

// Places returns the blocks of the chip's layers with their temperatures, for a
// picture.
func Places(layers []Layer, list []Temperature) []Place {
	var places []Place
	at := 0
	for n, l := range layers {
		for _, b := range l.Floorplan.Blocks {
			places = append(places, Place{Block: b, Layer: n, Kelvin: list[at].Kelvin})
			at++
		}
	}
	return places
}
