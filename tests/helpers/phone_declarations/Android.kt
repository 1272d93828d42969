// What the pages use of Android, with a folder in the place of assets.
package android.content.res

import java.io.File
import java.io.InputStream

class AssetManager {
    fun open(fileName: String): InputStream = File(System.getProperty("assets"), fileName).inputStream()
}
