"""The server: a front that never imports torch, compute workers with the model, decoder processes of one request each.

client ── front (asyncio: uploads, queue, limits) ──┬── decoder process: the file, its pieces, the search
└── compute worker: batches of pieces; live sessions
"""
