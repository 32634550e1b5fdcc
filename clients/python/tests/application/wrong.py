"""What type checkers are to refuse: each line that ends in a comment."""

import connage

connage.ConnectionPool(maxagee="5m")  # wrong
connage.ConnectionPool(maxage=3.5)  # wrong
connage.ConnectionPool(maxage_jitter=b"1")  # wrong
connage.BlockingConnectionPool(on_retired=5)  # wrong
connage.asyncio.ConnectionPool(maxage=[5])  # wrong
connage.asyncio.BlockingConnectionPool(maxidel="5m")  # wrong
connage.connection(maxage=None, gitter=5)  # wrong
connage.Connection(maxage=3.5)  # wrong
connage.asyncio.Connection(maxagee="5m")  # wrong
connage.ConnectionPool().retire_al()  # wrong
connage.ConnectionPool().connage_stats().retird  # wrong
