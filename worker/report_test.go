package worker

import (
	"errors"
	"testing"

	protobuf "google.golang.org/protobuf/proto"

	"pgo/proto"
	"pgo/worker/gitrepo"
)

// Names in a repository and what programs print may be any bytes. A message
// with them must be sent all the same: pgod ends a worker whose reports end.
func TestAnyBytesCanBeSent(t *testing.T) {
	b := newBoard()
	b.broken(errors.New("\xff"))
	b.edit(func(r *proto.ReportReply) { r.Keys = protoKeys([]gitrepo.Key{{File: "ssh/\xff.pub"}}) })
	report, _ := b.get()
	for _, m := range []protobuf.Message{report, exitOf(errors.New("\xff"))} {
		if _, err := protobuf.Marshal(m); err != nil {
			t.Error(err)
		}
	}
}
