import FastableCore
import Testing

/// The relations between limits; each line says which promise would break.
@Suite struct LimitsTests {
    @Test func theLink() {
        // A full frame must fit into an empty window, or a stream could never send it.
        #expect(Limits.framePayloadBytes <= Limits.streamWindowBytes)
        // A control message is one frame.
        #expect(Limits.controlMessageBytes <= Limits.framePayloadBytes)
        // Two pings can be lost before a link counts as dead.
        #expect(Limits.linkSilenceSeconds >= 3 * Limits.pingIntervalSeconds)
        #expect(Limits.reconnectFirstMilliseconds < Limits.reconnectLongestMilliseconds)
    }

    @Test func exec() {
        #expect(Limits.execTimeoutDefaultSeconds <= Limits.execTimeoutLongestSeconds)
        #expect(Limits.execTimeoutLongestSeconds == 900)
        // What a tool answer shows must still be there when the command ends.
        #expect(Limits.toolOutputBytes <= Limits.execOutputKeptBytes)
        #expect(Limits.initRingBytes <= Limits.execOutputKeptBytes)
        // A reader that vanished finds what was on its way to it: a window of the link, one in the controller, and the socket buffers.
        #expect(
            Limits.execReaderSlackBytes >= 2 * Limits.streamWindowBytes + 4 * Limits.framePayloadBytes + (10 << 20))
        // And a command has room to go on beside that.
        #expect(Limits.execReaderSlackBytes * 2 <= Limits.execOutputKeptBytes)
        // The arguments travel in one control message, with room for the rest of it.
        #expect(Limits.execArgumentBytes <= Limits.controlMessageBytes / 2)
        // A container's commands must fit on its node's link.
        #expect(Limits.execsPerContainer < Limits.streamsPerLink)
        // So long a reader may be away, and so long it is known how a command ended.
        #expect(Limits.execReaderGraceSeconds >= 60)
        #expect(Limits.execRecordDays >= 7 && Limits.finishedExecDays >= 7)
    }

    @Test func files() {
        // The text of a write, with a third for base64, fits into a request.
        #expect(Limits.fileWriteBytes * 4 / 3 < Limits.requestBodyBytes)
        #expect(Limits.fileReadBytes <= Limits.fileEditBytes)
        #expect(Limits.fileEditBytes <= Limits.rawFileBytes)
        #expect(Limits.grepLineBytes * 2 < Limits.controlMessageBytes)
    }

    @Test func archiving() {
        // What people ask for has places of its own beside what happens by itself.
        #expect(Limits.archivesAtOnce < Limits.snapshotsAtOnce)
        #expect(Limits.archiveRetryFirstSeconds < Limits.archiveRetryLongestSeconds)
        #expect(Limits.lifecycleNoticeSeconds < Limits.archiveAfterSeconds)
        // A node that is killed forgets no more of a use than the shortest time that the standard waits for.
        #expect(Limits.fileUseNoteSeconds < Limits.archiveAfterSeconds)
    }

    @Test func events() {
        // What a webhook has still to be told is kept for longer than it is tried.
        #expect(Limits.webhookGivesUpHours < Limits.eventDays * 24)
        #expect(Limits.webhookRetryFirstSeconds < Limits.webhookRetryLongestSeconds)
        #expect(Limits.transitionsPerBatch <= Limits.transitionsKept)
        // One workspace's slow endpoints leave places for others.
        #expect(Limits.webhooksAtOncePerWorkspace * 2 <= Limits.webhooksAtOnce)
        #expect(Limits.eventsPrunedAtOnce < Limits.eventsKept)
    }

    @Test func sockets() {
        // Two pings can be lost before a client counts as silent.
        #expect(Limits.socketSilenceSeconds >= 3 * Limits.socketPingSeconds)
        // A stopping controller says goodbye to everybody before it must be gone.
        #expect(Limits.socketAbortSeconds < Limits.gracefulShutdownSeconds)
        #expect(Limits.socketCloseSeconds < Limits.socketSilenceSeconds)
    }

    @Test func containers() throws {
        #expect(Limits.containerCPUs <= Limits.containerCPUsHighest)
        #expect(Limits.containerMemoryBytes <= Limits.containerMemoryBytesHighest)
        #expect(Limits.containerPIDs <= Limits.containerPIDsHighest)
        _ = try ResourceLimits().validated()
        #expect(Limits.nameBytes <= 63)
        #expect(Limits.startsAtOnce <= Limits.startsAtOnceHighest)
        #expect(Limits.startsPerMinute <= Limits.startsPerMinuteHighest)
        // At this pace all that may wait get their turn in time.
        #expect(Limits.startsWaiting * 60 <= Limits.startsPerMinute * Limits.startQueueSeconds)
        #expect(Limits.startMemoryShare > 0 && Limits.startMemoryShare <= 1)
        // Who waits is told where it is many times before it is refused.
        #expect(Limits.startLookMilliseconds * 10 < Limits.startQueueSeconds * 1000)
    }

    @Test func identity() {
        // A join token must not outlive the certificate it brings, nor that the authority.
        #expect(Limits.joinTokenSeconds < Limits.nodeCertificateSeconds)
        #expect(Limits.nodeCertificateSeconds < Limits.authoritySeconds)
        #expect(Limits.certificateBackdateSeconds * 100 < Limits.nodeCertificateSeconds)
        // An answer with two certificates, or a request with a signing request, is one control message.
        #expect(2 * Limits.certificateTextBytes < Limits.controlMessageBytes)
    }

    @Test(arguments: [
        ResourceLimits(cpus: 0), ResourceLimits(cpus: -1), ResourceLimits(cpus: .nan), ResourceLimits(cpus: 2.01),
        ResourceLimits(memoryBytes: 0), ResourceLimits(memoryBytes: .max), ResourceLimits(pids: 0),
        ResourceLimits(pids: 4097), ResourceLimits(diskBytes: 1), ResourceLimits(diskBytes: .max),
    ])
    func limitsOutOfRangeNameTheField(limits: ResourceLimits) {
        let error = #expect(throws: FastableError.self) { _ = try limits.validated() }
        #expect(error?.code == .unprocessable)
        #expect(["cpus", "memoryBytes", "pids", "diskBytes"].contains(error?.details["field"]?.string))
    }
}
