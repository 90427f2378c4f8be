import ControllerDomain
import ControllerStore
import FastableCore
import FoundationEssentials
import Testing

@Suite struct JoinTokenTests {
    private func token(expiresAt: Date = moment.addingTimeInterval(3600)) -> JoinTokenRecord {
        JoinTokenRecord(
            id: JoinTokenID(), verificationKey: [UInt8](0..<32), createdAt: moment, expiresAt: expiresAt)
    }

    @Test(arguments: Driver.allCases)
    func aTokenIsUsedOnce(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let token = token()
            try await fixture.store.createJoinToken(token)
            #expect(try await fixture.store.joinToken(token.id) == token)
            let first = try await fixture.store.consumeJoinToken(token.id, by: fixture.node, at: moment)
            var used = token
            (used.usedAt, used.usedBy) = (moment, fixture.node)
            #expect(first == .accepted(used))
            #expect(try await fixture.store.joinToken(token.id) == used)
            let second = try await fixture.store.consumeJoinToken(token.id, by: NodeID(), at: Date.nowMilliseconds)
            #expect(second == .alreadyUsed(at: moment))
        }
    }

    @Test(arguments: Driver.allCases)
    func expiredAndUnknownTokensAreToldApart(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            let token = token(expiresAt: moment)
            try await store.createJoinToken(token)
            #expect(try await store.consumeJoinToken(token.id, by: fixture.node, at: moment) == .expired(at: moment))
            #expect(try await store.consumeJoinToken(JoinTokenID(), by: fixture.node, at: moment) == .unknown)
            #expect(try await store.joinToken(JoinTokenID()) == nil)
            let justBefore = moment.addingTimeInterval(-0.001)
            let use = try await store.consumeJoinToken(token.id, by: fixture.node, at: justBefore)
            guard case .accepted = use else {
                Issue.record("\(use)")
                return
            }
            #expect(try await store.pruneJoinTokens(expiredBefore: moment) == 0)
            #expect(try await store.pruneJoinTokens(expiredBefore: moment.addingTimeInterval(1)) == 1)
            #expect(try await store.consumeJoinToken(token.id, by: fixture.node, at: moment) == .unknown)
        }
    }

    @Test(arguments: Driver.allCases)
    func ofAHundredAttemptsOneWins(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let token = token()
            try await fixture.store.createJoinToken(token)
            let uses = try await withThrowingTaskGroup(of: JoinTokenUse.self) { group in
                for _ in 0..<100 {
                    group.addTask { try await fixture.store.consumeJoinToken(token.id, by: NodeID(), at: moment) }
                }
                return try await group.reduce(into: [JoinTokenUse]()) { $0.append($1) }
            }
            let winners = uses.filter { if case .accepted = $0 { true } else { false } }
            #expect(winners.count == 1)
            #expect(uses.filter { $0 == .alreadyUsed(at: moment) }.count == 99)
            let stored = try await fixture.store.joinToken(token.id)
            #expect(stored.map(JoinTokenUse.accepted) == winners.first)
        }
    }
}
