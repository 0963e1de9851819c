package proto

// FindFlag has a worker say what it finds of Docker, as JSON of a Found, instead of serving anybody.
// The address of an engine may follow.
const FindFlag = "--found"

// Found is what a worker says about Docker.
type Found struct {
	Docker   string   `json:"docker,omitempty"`   // in one line; empty: it is too old
	Error    string   `json:"error,omitempty"`    // why nobody knows: something is missing, or does not answer
	Warnings []string `json:"warnings,omitempty"` // what is too old, or untried

	Free     *int     `json:"free,omitempty"`     // how many more networks fit; nil: unknown
	Projects []string `json:"projects,omitempty"` // of compose that have a network
}
