// Package proto is the contract between pgod and a worker: worker.proto and the code that is
// generated from it. It must not depend on either side.
package proto
